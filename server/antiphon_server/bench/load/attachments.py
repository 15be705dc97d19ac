"""Media to ask with, made here: a spoken question, a picture, a video.

In: a seeded generator and sizes. Out: encoded files. The same seed makes the same files.
Speech is espeak-ng's; where that is not installed, a murmur of noise takes its place, and the report says so.
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

_MURMUR_S = 3.0
_RATE_HZ = 16_000
_SYLLABLES_HZ = 4.0
_FILM_FPS = 10
_TOOL_S = 60.0


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file as it is sent. `form`: its usual suffix."""

    data: bytes
    form: str


def can_speak() -> bool:
    return shutil.which("espeak-ng") is not None


def recording(path: Path) -> Attachment:
    """A file of the user's."""
    try:
        return Attachment(path.read_bytes(), path.suffix.lstrip(".").lower() or "wav")
    except OSError:
        raise StartupError(ExitCode.USAGE, f"the recording {path} cannot be read") from None


def spoken(text: str) -> Attachment:
    command = ["espeak-ng", "--stdout", text]
    done = subprocess.run(command, check=True, capture_output=True, timeout=_TOOL_S)
    # espeak-ng does not know the length when it writes the header.
    with wave.open(io.BytesIO(done.stdout)) as source:
        pcm, rate_hz = source.readframes(len(done.stdout)), source.getframerate()
    return Attachment(wave_file(pcm, rate_hz), "wav")


def murmur(dice: random.Random) -> Attachment:
    """Noise with the long-term slope and the syllable rate of speech, and without its meaning."""
    noise = np.random.default_rng(dice.getrandbits(32)).standard_normal(round(_MURMUR_S * _RATE_HZ))
    spectrum = np.fft.rfft(noise)
    hz = np.fft.rfftfreq(len(noise), 1 / _RATE_HZ)
    shaped = np.fft.irfft(spectrum * (hz > 80) / np.maximum(hz, 500.0), len(noise))
    seconds = np.arange(len(noise)) / _RATE_HZ
    swell = 0.5 - 0.5 * np.cos(2 * math.pi * _SYLLABLES_HZ * seconds)
    samples = shaped * swell
    pcm = (samples / np.abs(samples).max() * 12_000).astype("<i2").tobytes()
    return Attachment(wave_file(pcm, _RATE_HZ), "wav")


def picture(dice: random.Random, size: tuple[int, int]) -> Attachment:
    """Shapes of any colour in any place."""
    image = Image.new("RGB", size, _colour(dice))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        left, top = dice.randrange(size[0]), dice.randrange(size[1])
        box = (left, top, left + 1 + dice.randrange(size[0]), top + 1 + dice.randrange(size[1]))
        dice.choice((draw.ellipse, draw.rectangle))(box, fill=_colour(dice))
    out = io.BytesIO()
    image.save(out, "PNG")
    return Attachment(out.getvalue(), "png")


def film(dice: random.Random, size: tuple[int, int], seconds: float) -> Attachment:
    """A moving test card with a tone, as MP4 (H.264, AAC)."""
    from antiphon_server.media.ffmpeg import FfmpegMissing, find_ffmpeg

    width, height = (side + side % 2 for side in size)
    card = f"testsrc2=size={width}x{height}:rate={_FILM_FPS}:duration={seconds},hue=h={dice.randrange(360)}"
    tone = f"sine=frequency={dice.randrange(200, 900)}:duration={seconds}"
    forms = ("-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast", "-c:a", "aac")
    try:
        program = str(find_ffmpeg())
        with TemporaryDirectory() as folder:
            path = Path(folder) / "film.mp4"
            command = [program, "-v", "error", "-nostdin", "-f", "lavfi", "-i", card]
            command += ["-f", "lavfi", "-i", tone, *forms, str(path)]
            subprocess.run(command, check=True, capture_output=True, timeout=_TOOL_S)
            return Attachment(path.read_bytes(), "mp4")
    except (FfmpegMissing, subprocess.SubprocessError) as error:
        raise StartupError(ExitCode.NO_FFMPEG, f"no video can be made: {error}") from None


def wave_file(pcm: bytes, rate_hz: int) -> bytes:
    """s16le, mono."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm)
    return out.getvalue()


def _colour(dice: random.Random) -> tuple[int, int, int]:
    return dice.randrange(256), dice.randrange(256), dice.randrange(256)
