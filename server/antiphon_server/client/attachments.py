"""A file as a part of a chat message: a picture, a recording, a clip or a text, by its suffix."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from antiphon_server.exits import ExitCode, StartupError

_IMAGES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
    ".tiff": "image/tiff",
}
_VIDEOS = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".avi": "video/x-msvideo",
}
_RECORDINGS = frozenset({"wav", "mp3", "flac", "ogg", "opus", "m4a", "aac"})
_TEXTS = frozenset({".txt", ".md", ".csv", ".json", ".yaml", ".toml", ".xml", ".html", ".py", ".log", ".srt"})


def part_of(path: Path) -> dict[str, Any]:
    """OpenAI's part for a picture or a recording, vLLM's for a clip. Raises `StartupError`."""
    suffix = path.suffix.lower()
    try:
        data = path.read_bytes()
        if suffix in _TEXTS:
            return {"type": "text", "text": f"{path.name}:\n{data.decode()}"}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise StartupError(ExitCode.USAGE, f"{path} cannot be read: {reason}") from None
    encoded = base64.b64encode(data).decode()
    if suffix in _IMAGES:
        return {"type": "image_url", "image_url": {"url": f"data:{_IMAGES[suffix]};base64,{encoded}"}}
    if suffix in _VIDEOS:
        return {"type": "video_url", "video_url": {"url": f"data:{_VIDEOS[suffix]};base64,{encoded}"}}
    if suffix.removeprefix(".") in _RECORDINGS:
        return {"type": "input_audio", "input_audio": {"data": encoded, "format": suffix.removeprefix(".")}}
    known = " ".join(sorted([*_IMAGES, *_VIDEOS, *_TEXTS, *(f".{one}" for one in _RECORDINGS)]))
    raise StartupError(ExitCode.USAGE, f"{path} is of no known type", f"known are {known}")


def recorded_part(wav: bytes) -> dict[str, Any]:
    """A part for what the microphone recorded."""
    data = base64.b64encode(wav).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
