"""What Open WebUI 0.12 sends, request by request, by aiohttp as its code does. Its package is too large."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
from harness import ANSWER, BASE, KEY, MESSAGES, MODEL, SENTENCE, SENTENCE_WAV, report, same_words, spoken

BEARER = {"Authorization": f"Bearer {KEY}"}
# Its slim build refuses speech of any other type.
SPEECH_TYPES = {
    "audio/mpeg",
    "audio/mp3",
    "audio/wav",
    "audio/x-wav",
    "audio/ogg",
    "audio/opus",
    "audio/flac",
}


async def got(path: str, headers: dict[str, str]) -> Any:
    async with aiohttp.ClientSession() as session, session.get(BASE + path, headers=headers) as answer:
        answer.raise_for_status()
        return await answer.json()


async def models() -> None:
    listed = await got("/models", {**BEARER, "Content-Type": "application/json"})
    assert [model["id"] for model in listed["data"]] == [MODEL]


async def chat_stream() -> None:
    body = {"stream": True, "model": MODEL, "messages": MESSAGES, "stream_options": {"include_usage": True}}
    # What its sliders add.
    body |= {"temperature": 0, "max_tokens": 64, "reasoning_effort": "low", "metadata": {"chat_id": "x"}}
    text, usage = "", None
    headers = {**BEARER, "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{BASE}/chat/completions", data=json.dumps(body), headers=headers) as answer,
    ):
        answer.raise_for_status()
        assert "text/event-stream" in answer.headers["Content-Type"]
        async for line in answer.content:
            if line.startswith(b"data: {"):
                chunk = json.loads(line[6:])
                text += "".join(one["delta"].get("content") or "" for one in chunk["choices"])
                usage = chunk.get("usage") or usage
    assert text == ANSWER
    assert usage is not None
    assert usage["completion_tokens"] > 2


async def voices() -> None:
    """Asked without a key."""
    assert {"id": MODEL} in [{"id": one["id"]} for one in (await got("/audio/models", {}))["models"]]
    listed = {voice["id"]: voice["name"] for voice in (await got("/audio/voices", {}))["voices"]}
    assert "heart" in listed


async def speech() -> None:
    """Its defaults."""
    headers = {**BEARER, "Content-Type": "application/json"}
    body = {"input": SENTENCE, "voice": "alloy", "model": "tts-1"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{BASE}/audio/speech", json=body, headers=headers) as answer,
    ):
        answer.raise_for_status()
        assert answer.headers["Content-Type"].partition(";")[0] in SPEECH_TYPES
        spoken(await answer.read())


async def transcript() -> None:
    """A file without a content type, in a chunked body."""
    form = aiohttp.FormData({"model": "whisper-1", "language": "en"})
    async with aiohttp.ClientSession() as session:
        with SENTENCE_WAV.open("rb") as file:
            form.add_field("file", file, filename="sentence.wav")
            async with session.post(f"{BASE}/audio/transcriptions", data=form, headers=BEARER) as answer:
                answer.raise_for_status()
                same_words((await answer.json())["text"])


if __name__ == "__main__":
    report("aiohttp", models, chat_stream, voices, speech, transcript)
