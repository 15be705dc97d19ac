"""Generator of request attachments: spoken questions, images and videos, reproducible from a seed.

espeak-ng makes the speech. If it is not installed, noise replaces the speech and the report mentions it.
"""

from __future__ import annotations

import io
import math
import random
import shutil
import subprocess
import wave
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageDraw

from antiphon_server.exits import ExitCode, StartupError
from antiphon_server.media.ffmpeg import FfmpegMissing, find_ffmpeg
from antiphon_server.media.wav_header import wav_header

_NOISE_S = 3.0
_RATE_HZ = 16_000
_SYLLABLES_HZ = 4.0
_VIDEO_FPS = 10
_TOOL_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Attachment:
    """An encoded file. `suffix`: the usual suffix of its format, without the dot."""

    data: bytes
    suffix: str


def has_espeak() -> bool:
    return shutil.which("espeak-ng") is not None


def load_recording(path: Path) -> Attachment:
    """The user's file. Raises `StartupError` if it cannot be read."""
    try:
        return Attachment(path.read_bytes(), path.suffix.lstrip(".").lower() or "wav")
    except OSError:
        raise StartupError(ExitCode.USAGE, f"the recording {path} cannot be read") from None


def synthesize_speech(text: str) -> Attachment:
    """The text spoken by espeak-ng, as WAV."""
    command = ["espeak-ng", "--stdout", text]
    done = subprocess.run(command, check=True, capture_output=True, timeout=_TOOL_TIMEOUT_S)
    # espeak-ng writes the header before it knows the length.
    with wave.open(io.BytesIO(done.stdout)) as source:
        pcm, rate_hz = source.readframes(len(done.stdout)), source.getframerate()
    return Attachment(wav_file(pcm, rate_hz), "wav")


def speech_like_noise(rng: random.Random) -> Attachment:
    """Three seconds of noise with the long-term spectrum and the syllable rate of speech, as WAV."""
    noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(round(_NOISE_S * _RATE_HZ))
    spectrum = np.fft.rfft(noise)
    hz = np.fft.rfftfreq(len(noise), 1 / _RATE_HZ)
    shaped = np.fft.irfft(spectrum * (hz > 80) / np.maximum(hz, 500.0), len(noise))
    seconds = np.arange(len(noise)) / _RATE_HZ
    swell = 0.5 - 0.5 * np.cos(2 * math.pi * _SYLLABLES_HZ * seconds)
    samples = shaped * swell
    pcm = (samples / np.abs(samples).max() * 12_000).astype("<i2").tobytes()
    return Attachment(wav_file(pcm, _RATE_HZ), "wav")


def random_image(rng: random.Random, size: tuple[int, int]) -> Attachment:
    """Six shapes of random colours and positions, as PNG. `size`: width and height in pixels."""
    image = Image.new("RGB", size, _random_colour(rng))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        left, top = rng.randrange(size[0]), rng.randrange(size[1])
        box = (left, top, left + 1 + rng.randrange(size[0]), top + 1 + rng.randrange(size[1]))
        rng.choice((draw.ellipse, draw.rectangle))(box, fill=_random_colour(rng))
    out = io.BytesIO()
    image.save(out, "PNG")
    return Attachment(out.getvalue(), "png")


def synthetic_video(rng: random.Random, size: tuple[int, int], seconds: float) -> Attachment:
    """A moving test card with a tone, as MP4 (H.264, AAC). Raises `StartupError` without ffmpeg."""

    width, height = (side + side % 2 for side in size)
    card = f"testsrc2=size={width}x{height}:rate={_VIDEO_FPS}:duration={seconds},hue=h={rng.randrange(360)}"
    tone = f"sine=frequency={rng.randrange(200, 900)}:duration={seconds}"
    codecs = ("-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast", "-c:a", "aac")
    try:
        program = str(find_ffmpeg())
        with TemporaryDirectory() as folder:
            path = Path(folder) / "video.mp4"
            command = [program, "-v", "error", "-nostdin", "-f", "lavfi", "-i", card]
            command += ["-f", "lavfi", "-i", tone, *codecs, str(path)]
            subprocess.run(command, check=True, capture_output=True, timeout=_TOOL_TIMEOUT_S)
            return Attachment(path.read_bytes(), "mp4")
    except (FfmpegMissing, subprocess.SubprocessError) as error:
        raise StartupError(ExitCode.NO_FFMPEG, f"no video can be made: {error}") from None


def wav_file(pcm: bytes, rate_hz: int) -> bytes:
    """A WAV file. `pcm`: s16le, mono."""
    return wav_header(len(pcm) // 2, rate_hz) + pcm


def _random_colour(rng: random.Random) -> tuple[int, int, int]:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)
