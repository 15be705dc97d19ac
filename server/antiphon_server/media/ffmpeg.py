"""Finds the ffmpeg program, which makes clips and records for commands. The server does not need it."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path


class FfmpegMissing(RuntimeError):
    """There is no usable ffmpeg; the message is for the operator."""


def find_ffmpeg() -> Path:
    """`ANTIPHON_FFMPEG`, else `ffmpeg` on the PATH, else the binary of the imageio-ffmpeg wheel.

    The PATH comes before the wheel because the system's ffmpeg gets security updates.
    """
    named = os.environ.get("ANTIPHON_FFMPEG") or shutil.which("ffmpeg")
    if named is None and importlib.util.find_spec("imageio_ffmpeg"):
        import imageio_ffmpeg  # type: ignore[import-untyped]

        named = imageio_ffmpeg.get_ffmpeg_exe()
    if named is None or not os.access(named, os.X_OK):
        raise FfmpegMissing(
            "ffmpeg was not found: install it (apt install ffmpeg), or pip install imageio-ffmpeg, "
            "or set ANTIPHON_FFMPEG to its path"
        )
    return Path(named).absolute()
