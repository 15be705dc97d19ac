"""Real media for the tests, made on the spot by ffmpeg, espeak-ng and Pillow."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import subprocess
import wave
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
from numpy.typing import NDArray
from PIL import Image

from antiphon_server.media.ffmpeg import find_ffmpeg
from antiphon_server.media.source import MediaKind, MediaSource


def ffmpeg(*arguments: str, suffix: str, files: dict[str, bytes] | None = None) -> bytes:
    """Runs ffmpeg in a fresh directory that holds `files`; returns the file `out.SUFFIX` that it wrote."""
    with TemporaryDirectory() as place:
        for name, data in (files or {}).items():
            (Path(place) / name).write_bytes(data)
        command = [str(find_ffmpeg()), "-v", "error", "-nostdin", "-y", *arguments, f"out.{suffix}"]
        subprocess.run(command, cwd=place, check=True, timeout=60)
        return (Path(place) / f"out.{suffix}").read_bytes()


def tone(seconds: float, rate_hz: int, hz: float = 440.0, level: float = 0.5) -> NDArray[np.float64]:
    return level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def wav(channels: NDArray[np.float64], rate_hz: int, bits: int = 16) -> bytes:
    """Plain PCM. `channels`: [num_channels, num_samples] within -1 to 1."""
    full = float(1 << (bits - 1))
    whole = np.clip(np.rint(channels.T * full), -full, full - 1).astype("<i4")
    if bits == 8:
        raw = (whole + 128).astype(np.uint8).tobytes()
    else:
        raw = whole.reshape(-1, 1).view(np.uint8)[:, : bits // 8].tobytes()
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(bits // 8)
        file.setframerate(rate_hz)
        file.writeframes(raw)
    return out.getvalue()


def speech(text: str) -> bytes:
    """A WAV at 22,050 Hz with a header of unknown length, as espeak-ng writes it to a pipe."""
    command = ["espeak-ng", "--stdout", text]
    return subprocess.run(command, check=True, capture_output=True, timeout=20).stdout


def picture(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def part(kind: MediaKind, *data: bytes | str, index: int = 0, **options: Any) -> MediaSource:
    """A source out of bytes (sent as base64) or of ready-made locations."""
    locations = tuple(item if isinstance(item, str) else base64_of(item) for item in data)
    return MediaSource(kind, locations, f"messages[0].content[{index}]", **options)


def strongest_hz(samples: NDArray[np.float32], rate_hz: int = 16_000) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax()) * rate_hz / len(samples)


def fork_servers() -> list[psutil.Process]:
    """Those of this process, the youngest last. A test session has other children: engines and servers."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "antiphon_server.media.workers.fork_server" in child.cmdline():
                found.append(child)
    return sorted(found, key=lambda child: float(child.create_time()))


def running_decoders() -> set[int]:
    """Process ids of the decoders that have a job: the children of this process's fork servers."""
    return {pid for server in fork_servers() for pid in children_of(server.pid)}


def children_of(pid: int) -> list[int]:
    """The kernel's own list. psutil reads all of /proc, which takes longer than a decoder lives."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


async def until_a_decoder_works() -> set[int]:
    """Waits, at most 10 s, for a decoder that has a job."""
    for _ in range(500):
        if running := running_decoders():
            return running
        await asyncio.sleep(0.02)
    raise TimeoutError("no decoder has started")
