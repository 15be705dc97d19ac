"""Where ffmpeg is, and the four command lines that we give it.

In: a sniffed container and numbers. Out: arguments, built with ffmpeg-python; nothing is run here.
The input is always descriptor 0, with its demuxer and decoders forced; the output descriptor 3.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg

from antiphon_executor.protocol import LISTENING_RATE_HZ
from antiphon_server.media.job import Fit
from antiphon_server.media.sniff import Container

# A regular file by its descriptor: one cannot seek in a pipe, and many an MP4 keeps its index at the end.
_SOURCE = "file:/proc/self/fd/0"
_OUTPUT = "pipe:3"
THREADS = 2

# swresample's matrix is ITU-R BS.775: centre 1, left and right 0.7071, surrounds 0.5, LFE left out. `maxval`
# scales it so that full scale on every channel stays full scale: stereo becomes (L + R) / 2.
_MONO = (
    f"aresample={LISTENING_RATE_HZ}:internal_sample_fmt=fltp:rematrix_maxval=1.0:filter_size=64:cutoff=0.96,"
    "aformat=sample_fmts=flt:channel_layouts=mono"
)


class FfmpegMissing(RuntimeError):
    """No usable ffmpeg; the message is for the operator."""


def find_ffmpeg() -> Path:
    """`ANTIPHON_FFMPEG`, else `ffmpeg` on the PATH, else the binary of the imageio-ffmpeg wheel.

    The PATH comes first because the system keeps it patched; the wheel's static binary starts faster.
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


@dataclass(frozen=True, slots=True)
class FramePlan:
    """Which frames of a video to keep: from `start` seconds on, `rate` a second, `frames` at most.

    `height` and `width` are those that the frames are scaled to.
    """

    start: Fraction
    rate: Fraction
    frames: int
    height: int
    width: int

    @property
    def frame_bytes(self) -> int:
        return self.height * self.width * 3


def _input(container: Container, **options: object) -> Any:
    drefs = {"enable_drefs": 0} if container.demuxer == "mov" else {}
    return ffmpeg.input(
        _SOURCE,
        f=container.demuxer,
        protocol_whitelist="file",
        codec_whitelist=",".join(container.decoders),
        threads=THREADS,
        **drefs,
        **options,
    )


def _argv(output: Any) -> tuple[str, ...]:
    stream = output.global_args("-nostdin", "-hide_banner", "-loglevel", "error")
    return tuple(str(word) for word in ffmpeg.get_args(stream))


def sound_argv(container: Container, most_seconds: float) -> tuple[str, ...]:
    """First audio track → f32le mono 16 kHz."""
    return _sound(container, most_seconds, _MONO)


def synced_sound_argv(container: Container, start: Fraction, most_seconds: float) -> tuple[str, ...]:
    """The same from `start` on, with silence in gaps: sample n belongs to start + n / 16,000 s."""
    return _sound(container, most_seconds, f"a{_start(start)},aresample=async=1:first_pts=0,{_MONO}")


def _start(start: Fraction) -> str:
    return f"setpts='PTS-{start.numerator}/{start.denominator}/TB'"


def _sound(container: Container, most_seconds: float, filters: str) -> tuple[str, ...]:
    track = _input(container)["a:0"]
    return _argv(ffmpeg.output(track, _OUTPUT, f="f32le", af=filters, t=f"{most_seconds:.6f}"))


def packets_argv(container: Container, selectors: tuple[str, ...]) -> tuple[str, ...]:
    """Every packet of the selected tracks as one line of text (framecrc), nothing decoded."""
    source = _input(container)
    tracks = [source[selector] for selector in selectors]
    return _argv(ffmpeg.output(*tracks, _OUTPUT, f="framecrc", c="copy"))


def first_frame_argv(container: Container, source_pixels: int, fit: Fit) -> tuple[str, ...]:
    """One frame, turned upright and scaled into the limits, as PPM: it carries the size of all."""
    source = _input(container, max_pixels=source_pixels)
    options = {"frames:v": 1, "vf": _scale(fit), "f": "image2pipe", "c:v": "ppm", "pix_fmt": "rgb24"}
    return _argv(ffmpeg.output(source["V:0"], _OUTPUT, **options))


def frames_argv(container: Container, source_pixels: int, plan: FramePlan) -> tuple[str, ...]:
    """RGB frames of one size, evenly spaced: frame k is the one on screen at start + k / rate seconds."""
    # round=up maps a source frame to the first output time that is not before it.
    every = (
        f"{_start(plan.start)},fps=fps={plan.rate.numerator}/{plan.rate.denominator}:round=up:start_time=0"
    )
    scale = f"scale={plan.width}:{plan.height}:flags=bicubic+accurate_rnd+full_chroma_int,setsar=1"
    source = _input(container, max_pixels=source_pixels)
    options = {"vf": f"{every},{scale}", "f": "rawvideo", "pix_fmt": "rgb24", "frames:v": plan.frames}
    return _argv(ffmpeg.output(source["V:0"], _OUTPUT, fps_mode="passthrough", **options))


def _scale(fit: Fit) -> str:
    """The scale filter's version of `picture_worker.fitted`, with square pixels."""
    pixels = "(iw*sar*ih)"
    down, up = (f"sqrt({bound}/{pixels})" for bound in (fit.max_pixels, fit.min_pixels))
    sized = f"if(gt({pixels},{fit.max_pixels}),{down},max(1,{up}))"
    scale = f"max({sized},{fit.min_side_pixels}/min(iw*sar,ih))"
    width, height = (
        f"max(1,floor({side}*{scale}/{fit.step_pixels}+0.000000001))*{fit.step_pixels}"
        for side in ("iw*sar", "ih")
    )
    return f"scale=w='{width}':h='{height}'"
