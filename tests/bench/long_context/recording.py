"""A long recording of speech in a loop, as Opus, and questions about it."""

from __future__ import annotations

import base64
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import openai
from tests.server.media.media_samples import ffmpeg

VOICE = Path(__file__).parents[3] / "server/antiphon_server/cli/samples/question.wav"
# Encoded once and repeated, as encoding hours of speech takes minutes.
_PIECE_S = 300
_OPUS = ("-ac", "1", "-ar", "16000", "-c:a", "libopus", "-b:a", "16k")


def recording(seconds: float, title: str = "") -> bytes:
    """Another `title` makes another file of the same sound."""
    piece = ffmpeg(
        "-stream_loop", "-1", "-i", str(VOICE), "-t", str(min(seconds, _PIECE_S)), *_OPUS, suffix="ogg"
    )
    with TemporaryDirectory() as folder:
        file = Path(folder) / "piece.ogg"
        file.write_bytes(piece)
        repeated = ("-stream_loop", "-1", "-i", str(file), "-t", str(seconds), "-c", "copy")
        return ffmpeg(*repeated, "-metadata", f"title={title}", suffix="ogg")


def inline(audio: bytes) -> dict[str, Any]:
    """The part of a message that has the recording in the body."""
    url = f"data:audio/ogg;base64,{base64.b64encode(audio).decode()}"
    return {"type": "audio_url", "audio_url": {"url": url}}


def uploaded(client: openai.OpenAI, audio: bytes) -> dict[str, Any]:
    """The part of a message that names the recording as a file of the server's."""
    file = client.files.create(file=("speech.ogg", audio), purpose="user_data", timeout=600)
    return {"type": "file", "file": {"file_id": file.id}}


def question(part: dict[str, Any], text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [part, {"type": "text", "text": text}]}]
