"""Every value of a body, replaced by each odd one in turn: an object of its type, or BadRequest."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.audio.speech import SpeechRequest
from antiphon_server.openai_api.base import ApiModel
from antiphon_server.openai_api.body import parse_body
from antiphon_server.openai_api.completions import CompletionRequest
from antiphon_server.openai_api.request import ChatRequest
from antiphon_server.openai_api.responses.request import ResponsesRequest
from antiphon_server.openai_api.tokenize import DetokenizeRequest, TokenizeRequest
from tests.server.routes.test_chat_fuzz import BODY as CHAT

ODD: tuple[Any, ...] = ([], {}, [[]], [{}], {"type": []}, {"role": {}}, "", "x", 0, 1e300, True, None, 10**30)
FUNCTION = {"type": "function", "name": "add", "parameters": {"type": "object"}}
RESPONSES: dict[str, Any] = {
    "input": [
        {"role": "system", "content": "x"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]},
        {"role": "user", "content": [{"type": "input_image", "file_id": "x"}]},
        {"role": "assistant", "content": [{"type": "output_audio", "id": "x", "transcript": "y"}]},
        {
            "type": "function_call",
            "call_id": "1",
            "name": "add",
            "arguments": "{}",
            "caller": {"type": "direct"},
        },
        {"type": "function_call_output", "call_id": "1", "output": "3"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "x"}]},
    ],
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
    "tools": [FUNCTION],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "add"}]},
    "reasoning": {"effort": "low"},
    "include": ["message.output_text.logprobs"],
    "metadata": {"a": "b"},
}
BODIES: list[tuple[type[ApiModel], dict[str, Any]]] = [
    (ChatRequest, CHAT),
    (ChatRequest, {**CHAT, "audio": {"voice": {"ref_audio": "data:,"}}, "stop": "q"}),
    (ResponsesRequest, RESPONSES),
    (ResponsesRequest, {"input": "x", "tool_choice": {"type": "function", "name": "add"}}),
    (CompletionRequest, {"prompt": ["a", "b"], "stop": ["c"], "logit_bias": {"1": 1}}),
    (CompletionRequest, {"prompt": [[1], [2]], "structured_outputs": {"choice": ["a"]}}),
    (SpeechRequest, {"input": "x", "voice": {"id": "ethan"}, "response_format": "wav", "speed": 1.0}),
    (TokenizeRequest, {"messages": CHAT["messages"][:1], "tools": CHAT["tools"]}),
    (DetokenizeRequest, {"tokens": [1, 2]}),
]


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    named = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in named:
        yield (*path, name)
        yield from places_in(inner, (*path, name))


@pytest.mark.parametrize(("model", "body"), BODIES, ids=lambda one: getattr(one, "__name__", ""))
def test_an_odd_value_anywhere_is_refused_as_a_bad_request(
    model: type[ApiModel], body: dict[str, Any]
) -> None:
    parse_body(json.dumps(body).encode(), model)
    for *path, last in places_in(body):
        for odd in ODD:
            changed = copy.deepcopy(body)
            here: Any = changed
            for step in path:
                here = here[step]
            here[last] = odd
            with suppress(BadRequest):
                parse_body(json.dumps(changed).encode(), model)
