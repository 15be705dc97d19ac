"""Warm-up of the fork server: decodes a small sample of each kind, so that all code is loaded before forking.

A confined worker cannot load anything.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from fractions import Fraction

import av
from PIL import Image

from antiphon_server.media.sandbox.job import RATE_HZ, AudioJob, Dimensions, ImageJob, Piece, Size
from antiphon_server.media.wav_header import wav_header
from antiphon_server.media.workers.audio_worker import decode_audio
from antiphon_server.media.workers.frame_scaler import FrameScaler, rotation_of
from antiphon_server.media.workers.image_worker import decode_images

_IMAGE_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
_SAMPLES = 480
_SIDE = 16


def warm_up() -> None:
    """Loads the code of all decoders."""
    silence = wav_header(_SAMPLES, RATE_HZ) + bytes(2 * _SAMPLES)
    with _memory_file(silence) as source, _memory_file() as output:
        decode_audio(AudioJob("wav", ("pcm_s16le",), _SAMPLES, _SAMPLES, 0), source, output, _take)
    for image_format in _IMAGE_FORMATS:
        _warm_up_image(image_format)
    frame = av.VideoFrame(_SIDE, _SIDE, "yuv420p")
    frame.pts, frame.time_base = 0, Fraction(1, 1000)
    FrameScaler(Size(_SIDE, _SIDE), rotation_of(frame)).scale_frame(frame)


def _warm_up_image(image_format: str) -> None:
    encoded = io.BytesIO()
    # Transparent if the format can be, so that the code for the white background is loaded too.
    mode = "RGB" if image_format in {"JPEG", "BMP"} else "RGBA"
    Image.new(mode, (_SIDE, _SIDE)).save(encoded, image_format)
    data = encoded.getvalue()
    job = ImageJob((len(data),), (image_format,), 0, _SIDE * _SIDE, 1.0)
    with _memory_file(data) as source, _memory_file() as output:
        decode_images(job, source, output, _half_size)


def _take(_piece: Piece) -> None:
    """Takes no piece: the job has none."""


def _half_size(dimensions: Dimensions) -> Size:
    return Size(dimensions.height // 2, dimensions.width // 2)


@contextlib.contextmanager
def _memory_file(data: bytes = b"") -> Iterator[int]:
    descriptor = os.memfd_create("warm-up")
    try:
        os.write(descriptor, data)
        yield descriptor
    finally:
        os.close(descriptor)
