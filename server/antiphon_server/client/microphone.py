"""Microphone: ffmpeg records from PulseAudio or ALSA, until the user has spoken."""

from __future__ import annotations

import io
import os
import subprocess
import tempfile
import threading
import wave
from collections.abc import Callable
from pathlib import Path

from antiphon_server.exits import ExitCode, StartupError
from antiphon_server.media.ffmpeg import FfmpegMissing, find_ffmpeg

_RATE_HZ = 16_000
_SOUND_DEVICES = Path("/dev/snd")


class Microphone:
    """Raises `StartupError` if there is none, or no ffmpeg."""

    def __init__(self) -> None:
        system = _sound_system()
        if system is None:
            raise StartupError(
                ExitCode.NO_SOUND, "there is no microphone: neither PulseAudio nor an ALSA capture device"
            )
        try:
            ffmpeg = find_ffmpeg()
        except FfmpegMissing as error:
            raise StartupError(ExitCode.NO_FFMPEG, str(error)) from None
        source = ("-f", system, "-i", "default")
        form = ("-ac", "1", "-ar", str(_RATE_HZ), "-f", "s16le", "-")
        self._command = [str(ffmpeg), "-v", "error", "-nostdin", *source, *form]

    def record(self, until_spoken: Callable[[], None]) -> bytes:
        """A WAV file of what is heard until `until_spoken` returns. Raises `StartupError`."""
        heard = io.BytesIO()
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=said) as process,
        ):
            reader = threading.Thread(target=_copy, args=(process, heard), daemon=True)
            reader.start()
            try:
                until_spoken()
            finally:
                process.terminate()
                reader.join()
            said.seek(0)
            words = said.read().decode(errors="replace").strip().splitlines()
        samples = heard.getvalue()
        if not samples:
            reason = words[-1] if words else "it recorded nothing"
            raise StartupError(ExitCode.NO_SOUND, f"the microphone cannot be used: {reason}")
        return _wav(samples)


def _sound_system() -> str | None:
    """The ffmpeg input that this machine has: `pulse`, `alsa` or None."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if os.environ.get("PULSE_SERVER") or (runtime and Path(runtime, "pulse", "native").exists()):
        return "pulse"
    return "alsa" if any(_SOUND_DEVICES.glob("pcm*c")) else None


def _copy(process: subprocess.Popen[bytes], heard: io.BytesIO) -> None:
    if process.stdout is not None:
        while piece := process.stdout.read1():  # type: ignore[attr-defined]  # a buffered reader
            heard.write(piece)


def _wav(samples: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(_RATE_HZ)
        recording.writeframes(samples[: len(samples) // 2 * 2])
    return file.getvalue()
