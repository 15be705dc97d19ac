"""Fields of other servers: taken at the value that asks for nothing, and refused by name at any other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.request import ChatRequest, parse_chat_request
from antiphon_server.openai_api.tolerance import HINTS, NEUTRAL_CHAT

HELLO = [{"role": "user", "content": "hello"}]


def parse(**fields: Any) -> ChatRequest:
    return parse_chat_request(json.dumps({"messages": HELLO, **fields}).encode())


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in NEUTRAL_CHAT.items() for value in values]
)
def test_a_value_that_asks_for_nothing_changes_nothing(name: str, value: Any) -> None:
    assert parse(**{name: value}) == parse()


@pytest.mark.parametrize("name", sorted(HINTS))
def test_a_hint_changes_nothing(name: str) -> None:
    assert parse(**{name: {"any": "thing"}}) == parse()


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ({"echo": True}, "false"),
        ({"best_of": 2}, "1"),
        ({"best_of": True}, "1"),
        ({"skip_special_tokens": False}, "true"),
        ({"skip_special_tokens": 1}, "true"),
        ({"use_beam_search": 0}, "false"),
        ({"vllm_xargs": {"a": 1}}, "{}"),
        ({"bad_words": ["no"]}, "[]"),
    ],
)
def test_any_other_value_is_refused_with_what_is_supported(fields: dict[str, Any], allowed: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(**fields)
    assert (refused.value.param, refused.value.code) == (next(iter(fields)), "unsupported_parameter")
    assert refused.value.message.endswith(f"is supported only as {allowed}.")


@pytest.mark.parametrize("fields", [{"max_tokens": -2}, {"max_tokens": -1.5}, {"stop": [""]}])
def test_a_field_of_ours_keeps_its_bounds_beside_its_neutral_value(fields: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(**fields)
    assert "Invalid value" in refused.value.message


def test_gateways_may_send_their_fields_of_messages_back() -> None:
    answer = {"role": "assistant", "content": "x", "reasoning_details": [], "extra_content": {}}
    parse(messages=[*HELLO, answer, {"role": "user", "content": "y", "cache_control": {"type": "ephemeral"}}])


def test_pcm_is_vllm_omnis_name_of_pcm16() -> None:
    spoken = parse(modalities=["text", "audio"], audio={"voice": "ethan", "format": "pcm"})
    assert spoken.audio is not None
    assert spoken.audio.format == "pcm16"
