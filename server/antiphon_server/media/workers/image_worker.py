"""Image decoding in a decoder process, by Pillow: encoded bytes to upright RGB rows of one size.

Only the decoder of the detected format is tried. Sizes are checked by the header before pixels are decoded.
"""

from __future__ import annotations

import io
import os

# Pillow loads some plugins on first use, which a confined worker cannot do.
from PIL import AvifImagePlugin, Image, ImageOps, MpoImagePlugin  # noqa: F401

from antiphon_server.media.sandbox.job import (
    ChooseSize,
    DecodeRefused,
    DecodeReport,
    Dimensions,
    ImageJob,
    Size,
)
from antiphon_server.media.workers.output_file import write_at

Image.MAX_IMAGE_PIXELS = None  # the job's own limit is checked below
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # a worker cannot start threads

_ORIENTATION = 0x0112
_ROTATED_BY_90 = range(5, 9)
# A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, but at least at this multiple of the wanted size.
_DRAFT_FACTOR = 2


def decode_images(job: ImageJob, source: int, output: int, choose_size: ChooseSize) -> DecodeReport:
    """Writes uint8 [num_images, height, width, 3] to `output`."""
    size: Size | None = None
    start = 0
    for index, (length, image_format) in enumerate(zip(job.lengths, job.formats, strict=True)):
        encoded = os.pread(source, length, start)
        start += length
        try:
            image = _open_image(encoded, image_format, job)
            size = size or choose_size(_dimensions(image, len(job.lengths)))
            rows = _decode_rows(image, size)
        except DecodeRefused as refused:
            raise DecodeRefused(refused.failure, **refused.facts, index=index) from refused
        write_at(output, rows, index * len(rows))
    height, width = (size.height, size.width) if size else (0, 0)
    return DecodeReport(frames=len(job.lengths), height=height, width=width)


def _open_image(encoded: bytes, image_format: str, job: ImageJob) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(encoded), formats=[image_format])
    # Any exception of a decoder means a damaged file: this process does nothing else and ends afterwards.
    except Exception as error:
        raise DecodeRefused("damaged") from error
    width, height = image.size
    if width * height > job.source_pixels:
        raise DecodeRefused("too_many_pixels", width=width, height=height)
    if max(width, height) > job.aspect_ratio * min(width, height):
        raise DecodeRefused("aspect_ratio_exceeded", width=width, height=height)
    return image


def _dimensions(image: Image.Image, count: int) -> Dimensions:
    try:
        # The base class's method: PNG's own one decodes the pixels first.
        is_rotated = Image.Image.getexif(image).get(_ORIENTATION) in _ROTATED_BY_90
    except Exception as error:
        raise DecodeRefused("damaged") from error
    width, height = reversed(image.size) if is_rotated else image.size
    return Dimensions(count, height, width)


def _decode_rows(image: Image.Image, size: Size) -> bytes:
    wanted = (size.width, size.height)
    try:
        side = _DRAFT_FACTOR * max(wanted)
        if image.format == "JPEG":
            image.draft(None, (side, side))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        upright = _to_rgb(image)
        scaled = upright.resize(wanted, Image.Resampling.BICUBIC) if upright.size != wanted else upright
        return scaled.tobytes()
    except Exception as error:
        raise DecodeRefused("damaged") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB. Transparent pixels get a white background; 16-bit grey values keep their high byte."""
    if image.mode.startswith("I"):
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(background, image)
    # No copy of a large image that already is RGB.
    return image if image.mode == "RGB" else image.convert("RGB")
