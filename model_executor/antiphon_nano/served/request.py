"""A dialogue as the messages of the API, with encoded media.

Audio is WAV at 16 kHz, a picture PNG, a clip MP4 (H.264 in 4:2:0 and AAC), as a phone sends it: the losses of
the codecs are part of the evaluation.
"""

from __future__ import annotations

import base64
import io
import subprocess
import wave
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import imageio_ffmpeg  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from antiphon_executor.interface.audio_geometry import SAMPLE_RATE_HZ
from antiphon_nano.thinker.dialogue import Clip, Dialogue, Part, Picture, Sound
from antiphon_nano.thinker.seeing.patches import uncut

Message = dict[str, Any]


def messages_of(dialogue: Dialogue) -> list[Message]:
    """The messages up to the last answer. Raises ValueError for a sound without samples."""
    written: list[Message] = [{"role": "system", "content": dialogue.system}] if dialogue.system else []
    for turn in dialogue.turns:
        written.append({"role": "user", "content": [part_of(part) for part in turn.question]})
        written.append({"role": "assistant", "content": turn.answer})
    return written[:-1]


def part_of(part: Part) -> Message:
    """One part of a message's content."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if isinstance(part, Sound):
        return {"type": "input_audio", "input_audio": {"data": _base64(wav(part)), "format": "wav"}}
    if isinstance(part, Picture):
        (pixels,) = uncut(part.patches)[:1]
        return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_base64(png(pixels))}"}}
    return {
        "type": "video_url",
        "video_url": {"url": f"data:video/mp4;base64,{_base64(mp4(part))}"},
        "fps": part.fps,
    }


def wav(sound: Sound) -> bytes:
    """WAV, 16 bits, mono."""
    if sound.samples is None:
        raise ValueError("the sound has no samples to send")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes((np.clip(sound.samples, -1, 1) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def png(pixels: NDArray[np.uint8]) -> bytes:
    """`pixels`: uint8 [height, width, 3]."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def mp4(clip: Clip) -> bytes:
    """MP4, with sound if the clip has any."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        for number, pixels in enumerate(uncut(clip.patches)[: clip.frames]):
            (place / f"{number:03}.png").write_bytes(png(pixels))
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-framerate", str(clip.fps)]
        command += ["-i", "%03d.png"]
        if clip.sound is not None:
            (place / "sound.wav").write_bytes(wav(clip.sound))
            command += ["-i", "sound.wav", "-c:a", "aac"]
        command += ["-c:v", "libx264", "-pix_fmt", "yuv420p", "clip.mp4"]
        subprocess.run(command, cwd=place, check=True)
        return (place / "clip.mp4").read_bytes()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
