"""Which tools an answer may call, and how the arguments of a required call reach the client."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from llguidance import LLMatcher, LLTokenizer

from antiphon_executor.stages.grammar import guidance_schema
from tests.echo_engine import EchoEngine
from tests.server.routes.test_chat import URL, ask, deltas_of, said, stream

CALL = {"name": "add", "arguments": {"a": 2, "b": "x y"}}


def tool(name: str, **parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", **parameters}}}


def allowed(mode: str, *names: str) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


async def test_a_required_calls_arguments_are_streamed_as_they_come(client: httpx.AsyncClient) -> None:
    body = said(json.dumps(CALL), tools=[tool("add")], tool_choice="required")
    chunks = await stream(client, body)
    calls = [call for delta in deltas_of(chunks) for call in delta.get("tool_calls", [])]
    assert (calls[0]["function"]["name"], calls[0]["type"]) == ("add", "function")
    assert calls[0]["id"].startswith("call_")
    assert len(calls) > 2
    assert all("id" not in call and call["index"] == 0 for call in calls[1:])
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == CALL["arguments"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("tokens", [1, 4, 8])
async def test_a_required_call_that_is_cut_off_is_never_content(
    client: httpx.AsyncClient, tokens: int
) -> None:
    body = said(json.dumps(CALL), tools=[tool("add")], tool_choice="required", max_tokens=tokens)
    [choice] = (await ask(client, body))["choices"]
    assert not choice["message"]["content"]
    assert choice["finish_reason"] == "length"
    for call in choice["message"].get("tool_calls", []):
        assert json.dumps(CALL["arguments"]).startswith(call["function"]["arguments"])


async def test_only_allowed_tools_are_offered(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    tools = [tool("add"), tool("cut"), tool("paint")]
    everything = (await ask(client, said("x", tools=tools)))["usage"]["prompt_tokens"]
    some = (await ask(client, said("x", tools=tools, tool_choice=allowed("auto", "add"))))["usage"]
    one = (await ask(client, said("x", tools=tools[:1])))["usage"]
    assert some["prompt_tokens"] == one["prompt_tokens"] < everything


async def test_one_of_the_allowed_tools_may_be_required(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    tools = [tool("add"), tool("cut"), tool("paint")]
    await client.post(URL, json=said("x", tools=tools, tool_choice=allowed("required", "cut", "paint")))
    schema = json.loads(engine.schema_text())
    names = [branch["properties"]["name"]["const"] for branch in schema["anyOf"]]
    assert names == ["cut", "paint"]


@pytest.mark.parametrize("mode", ["auto", "required"])
async def test_an_allowed_tool_that_is_not_there_is_refused(client: httpx.AsyncClient, mode: str) -> None:
    answer = await client.post(URL, json=said("x", tools=[tool("add")], tool_choice=allowed(mode, "cut")))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tool_choice")


async def test_a_large_schema_is_only_too_large_for_a_required_call(client: httpx.AsyncClient) -> None:
    large = tool("add", description="x" * 20_000)
    body = said("x", tools=[large])
    # The echo engine's context is too short for it, which is another refusal.
    refused = (await client.post(URL, json=body)).json()["error"]
    assert refused["code"] == "context_length_exceeded"
    required = (await client.post(URL, json={**body, "tool_choice": "required"})).json()["error"]
    assert (required["param"], required["code"]) == ("tools[0].function.parameters", "schema_too_large")


async def test_a_required_call_is_written_as_models_are_trained_to_write_it(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    """Free white space would allow a model to write line breaks without end."""
    await ask(client, said(json.dumps(CALL), tools=[tool("add"), tool("cut")], tool_choice="required"))
    grammar = LLMatcher.grammar_from_json_schema(guidance_schema(engine.schema_text()))
    tokenizer = LLTokenizer("byte")

    def accepted(text: str) -> bool:
        tokens = tokenizer.tokenize_str(text)
        return LLMatcher(tokenizer, grammar).validate_tokens(tokens) == len(tokens)

    assert accepted(json.dumps(CALL))
    assert not accepted(json.dumps(CALL, indent=1))
