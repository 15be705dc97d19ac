"""What a confined decoder could not load any more, loaded ahead by decoding a little of everything.

Runs in the fork server, on bytes made here.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from fractions import Fraction

import av
from PIL import Image

from antiphon_server.media.sandbox.job import Found, PictureJob, Size, SoundJob
from antiphon_server.media.wav_header import wav_header
from antiphon_server.media.workers.audio_worker import RATE_HZ, decode_sound
from antiphon_server.media.workers.frame_painter import FramePainter, turn_of
from antiphon_server.media.workers.image_worker import draw

_PICTURES = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
_SAMPLES = 480
_SIDE = 16


def warm_up() -> None:
    """Loads what all kinds of media need."""
    with _memory(wav_header(_SAMPLES, RATE_HZ) + bytes(2 * _SAMPLES)) as source, _memory() as output:
        decode_sound(SoundJob("wav", ("pcm_s16le",), _SAMPLES, _SAMPLES, 0), source, output)
    for form in _PICTURES:
        _warm_picture(form)
    frame = av.VideoFrame(_SIDE, _SIDE, "yuv420p")
    frame.pts, frame.time_base = 0, Fraction(1, 1000)
    FramePainter(Size(_SIDE, _SIDE), turn_of(frame)).paint(frame)


def _warm_picture(form: str) -> None:
    encoded = io.BytesIO()
    # Transparent, where the format can be: what lays a picture on white is loaded too.
    Image.new("RGB" if form in {"JPEG", "BMP"} else "RGBA", (_SIDE, _SIDE)).save(encoded, form)
    data = encoded.getvalue()
    job = PictureJob((len(data),), (form,), 0, _SIDE * _SIDE, 1.0)
    with _memory(data) as source, _memory() as output:
        draw(job, source, output, _halved)


def _halved(found: Found) -> Size:
    return Size(found.height // 2, found.width // 2)


@contextlib.contextmanager
def _memory(data: bytes = b"") -> Iterator[int]:
    descriptor = os.memfd_create("warm-up")
    try:
        os.write(descriptor, data)
        yield descriptor
    finally:
        os.close(descriptor)
