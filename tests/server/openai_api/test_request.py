"""The chat request: accepted and rejected values, and the field that an error names."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.base import ApiModel
from antiphon_server.openai_api.limits import (
    MAX_MESSAGES,
    MAX_PARTS,
    MAX_STOP_TOKENS,
    MAX_STOPS,
    MAX_TOKENS,
    MAX_TOOLS,
)
from antiphon_server.openai_api.request import ChatRequest, parse_chat_request

pytestmark = pytest.mark.promise("R5")

HELLO = [{"role": "user", "content": "hello"}]
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}


def parse(**fields: Any) -> ChatRequest:
    return parse_chat_request(json.dumps({"messages": HELLO, **fields}).encode())


def refusal(**fields: Any) -> BadRequest:
    with pytest.raises(BadRequest) as refused:
        parse(**fields)
    return refused.value


def user(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"n": 5}, "n"),
        ({"n": 16384}, "n"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"stop": ["x"] * (MAX_STOPS + 1)}, "stop"),
        ({"ignore_eos": 1}, "ignore_eos"),
        ({"min_tokens": -1}, "min_tokens"),
        ({"min_tokens": 4.0}, "min_tokens"),
        ({"min_tokens": MAX_TOKENS + 1}, "min_tokens"),
        ({"stop_token_ids": 5}, "stop_token_ids"),
        ({"stop_token_ids": [-1]}, "stop_token_ids[0]"),
        ({"stop_token_ids": [1, "2"]}, "stop_token_ids[1]"),
        ({"stop_token_ids": [1] * (MAX_STOP_TOKENS + 1)}, "stop_token_ids"),
        ({"talker_top_p": 0}, "talker_top_p"),
        ({"talker_top_p": 1.1}, "talker_top_p"),
        ({"talker_repetition_penalty": 0}, "talker_repetition_penalty"),
        ({"talker_max_frames": 0}, "talker_max_frames"),
        ({"talker_max_new_tokens": 0}, "talker_max_new_tokens"),
        ({"talker_max_tokens": "9"}, "talker_max_tokens"),
        ({"logit_bias": {"x": 1}}, "logit_bias.x"),
        ({"repetition_detection": {}}, "repetition_detection.max_pattern_size"),
        ({"repetition_detection": {"max_pattern_size": 257}}, "repetition_detection.max_pattern_size"),
        ({"repetition_detection": {"max_pattern_size": 2, "min_count": 1}}, "repetition_detection.min_count"),
        ({"repetition_detection": {"max_pattern_size": 2, "min_pattern_size": 3}}, "repetition_detection"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"modalities": ["smell"]}, "modalities[0]"),
        ({"modalities": []}, "modalities"),
        ({"stream": "yes"}, "stream"),
        ({"audio": {"format": "ogg"}}, "audio.format"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}] * (MAX_TOOLS + 1)}, "tools"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"messages": []}, "messages"),
        ({"messages": HELLO * (MAX_MESSAGES + 1)}, "messages"),
        ({"messages": [{"role": "narrator", "content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "system", "content": [IMAGE]}]}, "messages[0].content[0].type"),
        ({"messages": user({"type": "smell"})}, "messages[0].content[0]"),
        ({"messages": user({"type": "image_url", "image_url": {}})}, "messages[0].content[0].image_url.url"),
        ({"messages": user({"type": "image_url"})}, "messages[0].content[0].image_url"),
        ({"messages": user(IMAGE | {"zip": 1})}, "messages[0].content[0].zip"),
        ({"messages": user(*[IMAGE] * (MAX_PARTS + 1))}, "messages[0].content"),
        ({"messages": user({"type": "video", "video": ["a"]})}, "messages[0].content[0].video"),
        ({"messages": user(IMAGE | {"min_pixels": 0})}, "messages[0].content[0].min_pixels"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": user({"type": "text", "text": None})}, "messages[0].content[0].text"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": None}]}, "messages[0].tool_call_id"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_as_it_stands_in_the_clients_json(fields: dict[str, Any], param: str) -> None:
    assert refusal(**fields).param == param


def test_a_null_where_a_value_is_needed_is_called_a_null() -> None:
    refused = refusal(messages=[{"role": "user", "content": None}])
    assert refused.message == "Invalid value for 'messages[0].content': it must not be null."


@pytest.mark.parametrize(
    ("kind", "field"), [("image_url", "image_url"), ("audio_url", "audio_url"), ("video_url", "video_url")]
)
def test_a_url_without_its_object_is_taken(kind: str, field: str) -> None:
    short = parse(messages=user({"type": kind, field: "data:,x"}))
    assert short == parse(messages=user({"type": kind, field: {"url": "data:,x"}}))


def test_the_hint_for_an_earlier_function_call_is_tool_calls() -> None:
    called = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    assert refusal(messages=[*HELLO, called]).hint == "Use `tool_calls`."
    assert refusal(function_call={"name": "f"}).hint == "Use `tool_choice`."


def test_the_words_of_a_refusal_are_not_pythons() -> None:
    with pytest.raises(BadRequest) as caught:
        parse(messages=[])
    assert caught.value.message == "Invalid value for 'messages': list should have at least 1 item, not 0."


def test_a_misspelt_field_is_refused_with_the_name_that_was_meant() -> None:
    refused = refusal(temprature=1)
    assert (refused.code, refused.param) == ("unsupported_parameter", "temprature")
    assert refused.hint == "Did you mean 'temperature'?"


@pytest.mark.parametrize("field", ["functions", "web_search_options", "guided_regex", "ignore_eos"])
def test_a_field_that_would_change_the_answer_is_refused_and_not_ignored(field: str) -> None:
    assert refusal(**{field: {"x": 1}}).param == field


@pytest.mark.parametrize("field", sorted(ChatRequest.ignored))
def test_openais_bookkeeping_fields_pass(field: str) -> None:
    assert parse(**{field: "anything"}) == parse()


def test_null_means_not_given() -> None:
    nulls = {field: None for field in ChatRequest.model_fields if field != "messages"}
    assert parse(**nulls, functions=None) == parse()


def test_an_assistant_message_as_the_openai_sdk_dumps_it_passes() -> None:
    dumped = {
        "role": "assistant", "content": "hi", "refusal": None, "annotations": None, "audio": None,
        "function_call": None, "tool_calls": None,
    }  # fmt: skip
    assert parse(messages=[*HELLO, dumped, *HELLO]).messages[1].content == "hi"


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"null", b'{"messages": NaN}', b"\xff"])
def test_what_is_no_json_object_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_chat_request(body)
    assert refused.value.code == "invalid_json"


def test_a_refusal_never_repeats_the_clients_values() -> None:
    canary = "canary-2f6d"
    for fields in (
        {"temperature": canary},
        {"messages": [{"role": canary}]},
        {"messages": user({"type": canary})},
        {"tool_choice": canary},
        {"audio": {"voice": 5, "format": canary}},
    ):
        assert canary not in json.dumps(refusal(**fields).body())


def test_use_audio_in_video_is_on_and_can_be_switched_off_in_either_place() -> None:
    assert parse().media_options.use_audio_in_video
    assert not parse(use_audio_in_video=False).media_options.use_audio_in_video
    assert not parse(mm_processor_kwargs={"use_audio_in_video": False}).media_options.use_audio_in_video


def _our_names() -> set[str]:
    """The class names of all request types, which a client does not know."""
    found, new = set[type](), {ApiModel}
    while new:
        found |= new
        new = {below for above in new for below in above.__subclasses__()} - found
    return {each.__name__ for each in found}


WRONG: list[Any] = [5, "x", [], [5], {}, {"type": "text"}, {"type": "x"}, True]
MEDIA_KINDS = ("image_url", "input_audio", "audio_url", "video_url", "video")
NESTED = [
    *([field] for field in ChatRequest.model_fields),
    ["messages", 0],
    *(["messages", 0, field] for field in ("role", "content", "audio", "tool_calls")),
    ["messages", 0, "content", 0],
    *(["messages", 0, "content", 0, kind] for kind in MEDIA_KINDS),
    ["tools", 0], ["tools", 0, "function"], ["tools", 0, "function", "parameters"],
    ["tool_choice", "function"], ["response_format", "json_schema"],
    ["response_format", "json_schema", "schema"],
    ["audio", "voice"], ["audio", "voice", "reference_audio"], ["audio", "timestamp_granularities"],
]  # fmt: skip


def _placed(path: list[Any], value: Any) -> Any:
    for step in reversed(path):
        if step == 0:
            value = [value]
        else:
            value = {"type": step, step: value} if step in MEDIA_KINDS else {step: value}
            value |= {"role": "user"} if step == "content" else {}
            value |= (
                {"role": "assistant"} if step in ("tool_calls", "audio") and path[0] == "messages" else {}
            )
            value |= {"type": "function"} if step == "function" else {}
            value |= {"type": "json_schema"} if step == "json_schema" else {}
    return value


@pytest.mark.parametrize("path", NESTED, ids=str)
def test_no_refusal_names_a_class_or_a_type_of_ours(path: list[Any]) -> None:
    ours = _our_names()
    for wrong in WRONG:
        try:
            parse(**_placed(path, wrong))
        except BadRequest as refused:
            said = f"{refused.message} {refused.hint}"
            foreign = r"\b(instance of|extract fields|tuple|dictionary|NoneType|constrained)\b"
            assert not re.search(foreign, said), wrong
            assert not set(re.findall(r"\w+", said)) & ours, wrong


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from([*ChatRequest.model_fields, "functions", "x"])


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(fields, json_values | st.just(HELLO), max_size=6))
def test_any_json_is_either_a_request_or_a_bad_request(body: dict[str, Any]) -> None:
    with contextlib.suppress(BadRequest):
        assert parse_chat_request(json.dumps(body).encode()).messages
