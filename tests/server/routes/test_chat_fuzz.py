"""Any JSON body gets an answer or an error in OpenAI's format, never an internal error."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import event, given, settings
from hypothesis import strategies as st

from antiphon_server.http.app import create_app
from antiphon_server.openai_api.request import ChatRequest
from tests.echo_engine import EchoEngine
from tests.examples import examples
from tests.server.parts import make_service

pytestmark = pytest.mark.promise("R5", "R28")

BODY: dict[str, Any] = {
    "model": "echo",
    "messages": [
        {"role": "system", "content": "x"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "hello"},
                {"type": "image_url", "image_url": {"url": "data:,"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "video", "video": ["a", "b"], "fps": 1.0},
            ],
        },
        {
            "role": "assistant",
            "content": "y",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "z"},
    ],
    "modalities": ["text", "audio"],
    "audio": {"voice": "ethan", "format": "pcm16"},
    "stream": True,
    "stream_options": {"include_usage": True},
    "stop": ["q"],
    "logit_bias": {"1": 1},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
}
LEAKS = re.compile(r"0x[0-9a-f]{6,}|/home|/usr|/tmp|Traceback|File \"|\bpydantic\b")

oddities = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from(["<|im_end|>", "text", "audio", "function", "\x00", "\u2028", "9" * 400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path into a JSON value."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


PLACES = [path for path in places(BODY) if path]


@st.composite
def mutated_bodies(draw: st.DrawFn) -> dict[str, Any]:
    """The valid body with a few of its values replaced or removed, and perhaps a field added."""
    body = copy.deepcopy(BODY)
    for field in draw(st.sets(st.sampled_from(sorted(BODY.keys() - {"messages"})))):
        del body[field]
    for path in draw(st.lists(st.sampled_from(PLACES), max_size=3)):
        node: Any = body
        try:
            for step in path[:-1]:
                node = node[step]
            if draw(st.booleans()):
                node[path[-1]] = draw(oddities)
            else:
                del node[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue
    if draw(st.booleans()):
        body[draw(st.sampled_from(sorted(ChatRequest.model_fields)))] = draw(oddities)
    return body


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> EchoEngine:
    return EchoEngine(checkpoint)


@pytest.fixture(scope="module")
def app(checkpoint: Path, engine: EchoEngine) -> FastAPI:
    return create_app(make_service(checkpoint, engine))


@settings(deadline=None, max_examples=examples(200))
@given(body=mutated_bodies())
def test_any_body_gets_an_answer_or_a_refusal(app: FastAPI, engine: EchoEngine, body: dict[str, Any]) -> None:
    async def post() -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost"
        ) as client:
            return await client.post("/v1/chat/completions", content=json.dumps(body))

    answer = asyncio.run(post())

    event(f"status {answer.status_code}")
    assert answer.status_code in (200, 400, 404), answer.text
    assert engine.running == 0
    if answer.status_code == 200:
        assert '"error"' not in answer.text
    else:
        error = answer.json()["error"]
        assert set(error) >= {"message", "type", "param", "code"}
        assert not LEAKS.search(answer.text)
