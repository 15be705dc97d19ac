"""audio deltas are multiples of 6 bytes, their base64 joined is the stream, and usage counts its frames.

Over any sizes of what the engine says at once; by hand, and as the helper of an SDK puts them together.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from antiphon_executor.interface.events import SAMPLES_PER_FRAME, OmniEvent, SpeechDelta
from antiphon_executor.interface.request import OmniRequest
from antiphon_server.http.app import create_app
from tests.echo_engine import LOOK_AHEAD_SAMPLES, EchoEngine, Script
from tests.examples import examples
from tests.server.parts import make_service

pytestmark = pytest.mark.promise("R20")

BODY: dict[str, Any] = {
    "model": "echo",
    "messages": [{"role": "user", "content": "x"}],
    "modalities": ["text", "audio"],
    "audio": {"voice": "ethan", "format": "pcm16"},
    "stream": True,
    "stream_options": {"include_usage": True},
}


class Splitting(EchoEngine):
    """Cuts its speech into pieces of `samples`, cyclically; a frame counts with its last piece."""

    def __init__(self, folder: Path, samples: list[int]) -> None:
        super().__init__(folder)
        self._samples = itertools.cycle(samples)

    async def events_of(self, request: OmniRequest) -> AsyncGenerator[OmniEvent]:
        async for event in super().events_of(request):
            rest = event.pcm if isinstance(event, SpeechDelta) else b""
            while rest and (size := 2 * next(self._samples)) < len(rest):
                yield replace(event, pcm=rest[:size], frames=0)
                rest = rest[size:]
            yield replace(event, pcm=rest) if isinstance(event, SpeechDelta) else event


async def streamed(checkpoint: Path, engine: EchoEngine) -> list[dict[str, Any]]:
    app = create_app(make_service(checkpoint, engine))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post("/v1/chat/completions", json=BODY)
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@settings(deadline=None, max_examples=examples(60))
@given(
    answer=st.text("abc ", min_size=1, max_size=40),
    samples=st.lists(st.integers(1, 4_000), min_size=1, max_size=4),
    late=st.dictionaries(st.integers(2, 20), st.floats(0, 0.03), max_size=3),
)
def test_whatever_the_sizes_the_deltas_joined_are_the_stream(
    checkpoint: Path, answer: str, samples: list[int], late: dict[int, float]
) -> None:
    engine = Splitting(checkpoint, samples)
    engine.script = Script(answer=answer, delays_s=late)
    chunks = asyncio.run(streamed(checkpoint, engine))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    pieces = [delta["audio"]["data"] for delta in deltas if delta.get("audio", {}).get("data")]
    sizes = [len(base64.b64decode(piece, validate=True)) for piece in pieces]
    assert all(size % 6 == 0 for size in sizes[:-1])
    (spoken,) = engine.spoken.values()
    assert base64.b64decode("".join(pieces), validate=True) == spoken
    frames = chunks[-1]["usage"]["completion_tokens_details"]["audio_tokens"]
    assert len(spoken) // 2 == frames * SAMPLES_PER_FRAME - LOOK_AHEAD_SAMPLES
    assert put_together(chunks) == spoken


def put_together(chunks: list[dict[str, Any]]) -> bytes:
    """By OpenAI's own helper, which joins the deltas of an answer."""
    state = ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    message: Any = state.get_final_completion().choices[0].message
    audio = message.audio
    return base64.b64decode(audio["data"] if isinstance(audio, dict) else audio.data)


@pytest.mark.parametrize("dialect", ["openai", "dashscope", "union"])
async def test_a_client_chooses_its_dialect_by_a_header(client: httpx.AsyncClient, dialect: str) -> None:
    answer = await client.post("/v1/chat/completions", json=BODY, headers={"X-Antiphon-Dialect": dialect})
    frames = [line[6:] for line in answer.text.split("\n\n") if line.startswith("data: {")]
    deltas = [choice["delta"] for frame in frames for choice in json.loads(frame)["choices"]]
    content = "".join(delta.get("content") or "" for delta in deltas)
    transcript = "".join((delta.get("audio") or {}).get("transcript") or "" for delta in deltas)
    assert (content, transcript) == {
        "openai": ("", "x"),
        "dashscope": ("x", ""),
        "union": ("x", "x"),
    }[dialect]


async def test_an_unknown_dialect_is_refused_by_name(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/chat/completions", json=BODY, headers={"X-Antiphon-Dialect": "latin"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x-antiphon-dialect")
