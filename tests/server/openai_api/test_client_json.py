"""JSON within strings has the same limits as the body, and no text contains half of a surrogate pair."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon_server.chat.response.tool_calls import PlainText, ToolCallParser
from antiphon_server.errors import BadRequest
from antiphon_server.http.app import create_app
from antiphon_server.openai_api.client_json import ClientJson
from tests.echo_engine import EchoEngine, Script
from tests.examples import examples
from tests.server.parts import make_service
from tests.server.routes.test_chat_fuzz import BODY, places

URL = "/v1/chat/completions"
ARGUMENTS = "messages[1].tool_calls[0].function.arguments"


def with_arguments(arguments: str) -> dict[str, Any]:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {
        "messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": "y"},
        ]
    }


def nested(depth: int) -> str:
    return '{"a":' + "[" * depth + "]" * depth + "}"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (r'{"a": "\ud800"}', "invalid_unicode"),
        (r'{"\udfff": 1}', "invalid_unicode"),
        (r'{"a": ["\ud83dx"]}', "invalid_unicode"),
        (nested(900), "json_too_deep"),
        (nested(64), "json_too_deep"),
        ('{"a": [' + "1," * 100_001 + "1]}", "json_too_large"),
    ],
)
async def test_arguments_of_a_tool_call_have_the_limits_of_the_body(
    client: httpx.AsyncClient, arguments: str, code: str
) -> None:
    answer = await client.post(URL, json=with_arguments(arguments))
    assert answer.status_code == 400, answer.text
    assert (answer.json()["error"]["param"], answer.json()["error"]["code"]) == (ARGUMENTS, code)


@pytest.mark.parametrize("arguments", ["", "{", "NaN", "not json", '{"a": "\\ud83d', "[1]", nested(60)])
async def test_arguments_that_are_no_object_are_text(client: httpx.AsyncClient, arguments: str) -> None:
    assert (await client.post(URL, json=with_arguments(arguments))).status_code == 200


def test_all_strings_of_a_request_share_one_allowance_of_values() -> None:
    client_json = ClientJson(depth=8, nodes=10)
    client_json.parse("[1,2,3,4]", "a")
    with pytest.raises(BadRequest, match="more than") as refused:
        client_json.parse("[1,2,3,4,5,6]", "b")
    assert refused.value.param == "b"


@pytest.mark.parametrize("arguments", [r'"\ud800"', "[" * 900 + "]" * 900])
def test_a_call_of_the_model_that_no_answer_can_hold_stays_text(arguments: str) -> None:
    written = '<tool_call>{"name": "f", "arguments": {"a": ' + arguments + "}}</tool_call>"
    assert ToolCallParser(lambda: "id").parse_text(written) == [PlainText(written)]


async def test_an_answer_with_such_a_call_is_whole(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    written = r'<tool_call>{"name": "f", "arguments": {"a": "\ud800"}}</tool_call>'
    engine.script = Script(answer=written)
    tools = [{"type": "function", "function": {"name": "f"}}]
    answer = await client.post(URL, json={"messages": [{"role": "user", "content": "x"}], "tools": tools})
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == written


def string_places() -> Iterator[tuple[Any, ...]]:
    for path in places(BODY):
        node: Any = BODY
        for step in path:
            node = node[step]
        if isinstance(node, str):
            yield path


def replaced(node: Any, path: tuple[Any, ...], value: str) -> Any:
    if not path:
        return value
    if isinstance(node, list):
        return [replaced(inner, path[1:], value) if at == path[0] else inner for at, inner in enumerate(node)]
    return {key: replaced(inner, path[1:], value) if key == path[0] else inner for key, inner in node.items()}


@pytest.fixture(scope="module")
def app(checkpoint: Path) -> FastAPI:
    return create_app(make_service(checkpoint, EchoEngine(checkpoint)))


half_characters = st.tuples(st.text(max_size=3), st.integers(0xD800, 0xDFFF).map(chr), st.text(max_size=3))


@settings(deadline=None, max_examples=examples(150))
@given(path=st.sampled_from(list(string_places())), text=half_characters.map("".join), twice=st.booleans())
def test_half_a_surrogate_pair_is_refused_in_every_string(
    app: FastAPI, path: tuple[Any, ...], text: str, twice: bool
) -> None:
    # Twice: as JSON inside the string, which some fields parse and the others take as harmless ASCII.
    body = replaced(BODY, path, json.dumps({"k": text}) if twice else text)

    async def post() -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost"
        ) as client:
            return await client.post(URL, content=json.dumps(body))

    answer = asyncio.run(post())
    assert answer.status_code in ((200, 400, 404) if twice else (400,)), answer.text
    if not twice:
        assert answer.json()["error"]["code"] == "invalid_unicode"


@pytest.mark.parametrize("keys", ["properties", "enum"])
async def test_half_a_surrogate_pair_is_refused_in_a_schema(client: httpx.AsyncClient, keys: str) -> None:
    schema = (
        {"type": "object", "properties": {"\ud800": {}}} if keys == "properties" else {"enum": ["\udc00"]}
    )
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    body = {"messages": [{"role": "user", "content": "x"}], "response_format": wanted}
    answer = await client.post(URL, content=json.dumps(body))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_unicode")


async def test_a_number_that_no_float_can_hold_is_refused_in_a_schema(client: httpx.AsyncClient) -> None:
    body = (
        '{"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "json_schema",'
        '"json_schema": {"name": "n", "schema": {"const": 1e999}}}}'
    )
    answer = await client.post(URL, content=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == "response_format.json_schema.schema"


def test_a_number_with_too_many_digits_is_no_json() -> None:
    assert ClientJson(64, 100).parse("9" * 5_000, "a") is None
