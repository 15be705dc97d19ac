"""Pictures inside a decoder process: encoded bytes in, upright RGB rows of one size out.

Only the decoder that the sniffed format names is tried. Sizes are checked from the header, before any pixel.
Never runs in the server.
"""

from __future__ import annotations

import io
import os

# Pillow loads some plugins only when a file asks for them: a confined worker could not.
from PIL import AvifImagePlugin, Image, ImageOps, MpoImagePlugin  # noqa: F401

from antiphon_server.media.sandbox.job import Ask, Found, PictureJob, Refused, Report, Size
from antiphon_server.media.workers.output_file import write_at

Image.MAX_IMAGE_PIXELS = None  # ours are checked below, with our own limit
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # a worker may start no thread

_ORIENTATION = 0x0112
_ON_ITS_SIDE = range(5, 9)
# A JPEG may be decoded at a half, a quarter or an eighth of its size; from this much more than is wanted.
_SPARE = 2


def draw(job: PictureJob, source: int, output: int, ask: Ask) -> Report:
    """Writes uint8 [num_pictures, height, width, 3] to `output`."""
    size: Size | None = None
    start = 0
    for index, (length, form) in enumerate(zip(job.lengths, job.formats, strict=True)):
        encoded = os.pread(source, length, start)
        start += length
        try:
            picture = _open(encoded, form, job)
            size = size or ask(_found(picture, len(job.lengths)))
            rows = _drawn(picture, size)
        except Refused as refused:
            raise Refused(refused.trouble, **refused.facts, index=index) from refused
        write_at(output, rows, index * len(rows))
    height, width = (size.height, size.width) if size else (0, 0)
    return Report(frames=len(job.lengths), height=height, width=width)


def _open(encoded: bytes, form: str, job: PictureJob) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(encoded), formats=[form])
    # Whatever a decoder stumbles over means the same: this process has no other work and ends after it.
    except Exception as error:
        raise Refused("damaged") from error
    width, height = picture.size
    if width * height > job.source_pixels:
        raise Refused("too_many_pixels", width=width, height=height)
    if max(width, height) > job.aspect_ratio * min(width, height):
        raise Refused("too_long_a_side", width=width, height=height)
    return picture


def _found(picture: Image.Image, count: int) -> Found:
    try:
        # Not a PNG's own method, which decodes the pixels first.
        on_its_side = Image.Image.getexif(picture).get(_ORIENTATION) in _ON_ITS_SIDE
    except Exception as error:
        raise Refused("damaged") from error
    width, height = reversed(picture.size) if on_its_side else picture.size
    return Found(count, height, width)


def _drawn(picture: Image.Image, size: Size) -> bytes:
    wanted = (size.width, size.height)
    try:
        side = _SPARE * max(wanted)
        if picture.format == "JPEG":
            picture.draft(None, (side, side))
        picture.load()
        ImageOps.exif_transpose(picture, in_place=True)
        upright = _rgb(picture)
        scaled = upright.resize(wanted, Image.Resampling.BICUBIC) if upright.size != wanted else upright
        return scaled.tobytes()
    except Exception as error:
        raise Refused("damaged") from error


def _rgb(picture: Image.Image) -> Image.Image:
    """8-bit RGB. Transparent pixels are laid on white; 16-bit greys keep their high byte."""
    if picture.mode.startswith("I"):
        picture = picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(paper, picture)
    # Large pictures: no copy where nothing changes.
    return picture if picture.mode == "RGB" else picture.convert("RGB")
