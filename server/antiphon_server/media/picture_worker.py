"""Pictures inside a decoder process: encoded bytes in, upright RGB rows of one size out.

Only the decoder that the sniffed format names is tried. Sizes are checked from the header, before any pixel.
Never runs in the server.
"""

from __future__ import annotations

import io
import math
import os

from PIL import Image, ImageOps

from antiphon_server.media.job import Fit, PictureJob, PictureReport, Trouble

FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
Image.MAX_IMAGE_PIXELS = None  # ours are checked below, with our own limit


class _Refused(Exception):
    def __init__(self, trouble: Trouble, size: tuple[int, int] = (0, 0)) -> None:
        super().__init__(trouble)
        self.trouble = trouble
        self.size = size


def warm_up() -> None:
    """Loads what pictures of every accepted format need, by decoding one of each."""
    for form in FORMATS:
        encoded = io.BytesIO()
        Image.new("RGBA" if form != "JPEG" else "RGB", (2, 2)).save(encoded, form)
        _rgb(Image.open(io.BytesIO(encoded.getvalue()), formats=[form])).resize((1, 1))


def draw(job: PictureJob, source: int, output: int) -> PictureReport:
    """Writes uint8 [num_pictures, height, width, 3] to `output`."""
    size: tuple[int, int] | None = None
    start = 0
    for index, (length, form) in enumerate(zip(job.lengths, job.formats, strict=True)):
        encoded = os.pread(source, length, start)
        start += length
        try:
            picture = _open(encoded, form, job)
            if size is None:
                size = fitted(picture.size, job.fit)
            rows = picture.resize(size, Image.Resampling.BICUBIC) if picture.size != size else picture
        except _Refused as refused:
            return PictureReport(refused.size[1], refused.size[0], refused.trouble, index)
        _write(output, rows.tobytes())
    width, height = size or (0, 0)
    return PictureReport(height, width)


def _write(output: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(output, rest) :]


def _open(encoded: bytes, form: str, job: PictureJob) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(encoded), formats=[form])
        _check(picture.size, job)
        picture.load()
        return _rgb(ImageOps.exif_transpose(picture))
    except _Refused:
        raise
    # Whatever a decoder stumbles over means the same: this process has no other work and ends after it.
    except Exception as error:
        raise _Refused("damaged") from error


def _check(size: tuple[int, int], job: PictureJob) -> None:
    width, height = size
    if width * height > job.source_pixels:
        raise _Refused("too_many_pixels", size)
    if max(size) > job.aspect_ratio * min(size):
        raise _Refused("too_long_a_side", size)


def _rgb(picture: Image.Image) -> Image.Image:
    """8-bit RGB. Transparent pixels are laid on white; 16-bit greys keep their high byte."""
    if picture.mode.startswith("I"):
        picture = picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(paper, picture)
    return picture.convert("RGB")


def fitted(size: tuple[int, int], fit: Fit) -> tuple[int, int]:
    """Width and height after `fit`; unchanged where they already are within it."""
    pixels = size[0] * size[1]
    scale = 1.0
    if pixels > fit.max_pixels:
        scale = math.sqrt(fit.max_pixels / pixels)
    elif pixels < fit.min_pixels:
        scale = math.sqrt(fit.min_pixels / pixels)
    scale = max(scale, fit.min_side_pixels / min(size))
    width, height = (
        max(1, math.floor(side * scale / fit.step_pixels + 1e-9)) * fit.step_pixels for side in size
    )
    return width, height
