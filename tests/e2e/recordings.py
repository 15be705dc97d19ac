"""Media that a user sends, as parts of a chat message: a spoken question, a picture, a clip with sound.

espeak-ng speaks the question; without it, the question is a tone.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw

from tests.server.media.media_samples import base64_of, ffmpeg, image_file, speech

QUESTION_S = 2.0
CLIP_S = 2
CLIP_FPS = 2
PICTURE_SIZE = (128, 96)
# Within what the processor keeps as it is: 128 to 768 tokens a frame.
CLIP_SIZE = (448, 320)


@dataclass(frozen=True)
class Recordings:
    """Encoded files: `question` wav, `photo` png, `clip` mp4 (H.264 with AAC sound)."""

    question: bytes
    photo: bytes
    clip: bytes

    def asked_aloud(self) -> dict[str, Any]:
        sound = {"data": base64_of(self.question), "format": "wav"}
        return {"type": "input_audio", "input_audio": sound}

    def shown(self) -> dict[str, Any]:
        return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64_of(self.photo)}}

    def filmed(self) -> dict[str, Any]:
        url = "data:video/mp4;base64," + base64_of(self.clip)
        return {"type": "video_url", "video_url": {"url": url}, "fps": CLIP_FPS}

    def all_at_once(self, text: str = "What do you see and hear?") -> list[dict[str, Any]]:
        parts = [self.asked_aloud(), self.shown(), self.filmed(), {"type": "text", "text": text}]
        return [{"role": "user", "content": parts}]


def make_recordings() -> Recordings:
    return Recordings(_question(), _photo(), _clip())


def _question() -> bytes:
    """Exactly `QUESTION_S` seconds at 16 kHz."""
    length = ("-t", str(QUESTION_S), "-ar", "16000", "-ac", "1")
    if shutil.which("espeak-ng") is None:
        source = f"sine=frequency=300:duration={QUESTION_S}"
        return ffmpeg("-f", "lavfi", "-i", source, *length, suffix="wav")
    files = {"said.wav": speech("What is in the picture, and who speaks in the film?")}
    return ffmpeg("-i", "said.wav", "-af", "apad", *length, suffix="wav", files=files)


def _photo() -> bytes:
    image = Image.new("RGB", PICTURE_SIZE, (40, 90, 160))
    ImageDraw.Draw(image).ellipse((30, 20, 90, 80), fill=(220, 40, 30))
    return image_file(image, "PNG")


def _clip() -> bytes:
    """A test card that moves, with a tone as its sound."""
    width, height = CLIP_SIZE
    film = f"testsrc=size={width}x{height}:rate=10:duration={CLIP_S}"
    tone = f"sine=frequency=500:duration={CLIP_S}"
    sources = ("-f", "lavfi", "-i", film, "-f", "lavfi", "-i", tone)
    return ffmpeg(*sources, "-pix_fmt", "yuv420p", "-c:v", "libx264", "-c:a", "aac", suffix="mp4")


def sliver_png() -> bytes:
    """A picture that no patch fits: 1 pixel by 400."""
    return image_file(Image.new("RGB", (1, 400), (1, 2, 3)), "PNG")
