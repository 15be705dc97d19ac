"""Reasoning of a model that thinks: its own field, its tokens, and the switches of a request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from antiphon_server.chat.prompt.renderer import PromptRenderer
from antiphon_server.http.app import create_app
from tests.echo_engine import EchoEngine, Script
from tests.server.parts import make_service
from tests.server.routes.test_chat import CALL, SPOKEN, TOOLS, ask, deltas_of, said, stream
from tests.tiny_checkpoint import CHAT_TEMPLATE, write_tiny_checkpoint

THOUGHT = "<think>\nTwo and two.\n</think>\n\nFour."
# As Qwen3's: an empty block switches thinking off.
SWITCHED = CHAT_TEMPLATE + (
    "{%- if enable_thinking is defined and enable_thinking is false -%}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif -%}"
)
# As those of models that always think: the prompt opens the block.
OPENED = CHAT_TEMPLATE + "{{ '<think>\\n' }}"


async def serve(folder: Path, template: str) -> AsyncIterator[tuple[httpx.AsyncClient, EchoEngine]]:
    engine = EchoEngine(write_tiny_checkpoint(folder, template))
    transport = httpx.ASGITransport(create_app(make_service(folder, engine)))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client, engine


@pytest.fixture
async def switched(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, EchoEngine]]:
    async for served in serve(tmp_path, SWITCHED):
        yield served


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, EchoEngine]]:
    async for served in serve(tmp_path, OPENED):
        yield served


Served = tuple[httpx.AsyncClient, EchoEngine]


def prompt_of(engine: EchoEngine) -> str:
    ids = list(engine.requests[-1].prompt_token_ids)
    return str(engine._tokenizer.decode(ids, skip_special_tokens=False))


def joined(chunks: list[dict[str, Any]], field: str) -> str:
    return "".join(delta.get(field) or "" for delta in deltas_of(chunks))


async def test_reasoning_has_a_field_of_its_own(switched: Served) -> None:
    client, engine = switched
    engine.script = Script(answer=THOUGHT)
    answer = await ask(client, said("2+2?"))
    message = answer["choices"][0]["message"]
    assert message["content"] == "Four."
    assert message["reasoning"] == message["reasoning_content"] == "Two and two."
    details = answer["usage"]["completion_tokens_details"]
    # The echo's tokens have four characters: the tag ends in the eighth of nine.
    assert (details["reasoning_tokens"], answer["usage"]["completion_tokens"]) == (8, 9)


async def test_reasoning_is_streamed_before_the_answer(switched: Served) -> None:
    client, engine = switched
    engine.script = Script(answer=THOUGHT)
    chunks = await stream(client, said("2+2?", stream_options={"include_usage": True}))
    assert joined(chunks, "reasoning") == joined(chunks, "reasoning_content") == "Two and two."
    assert joined(chunks, "content") == "Four."
    kinds = [kind for delta in deltas_of(chunks)[1:] for kind in ("reasoning", "content") if kind in delta]
    assert len(kinds) > 4
    assert kinds == sorted(kinds, reverse=True)
    assert chunks[-1]["usage"]["completion_tokens_details"]["reasoning_tokens"] == 8


async def test_an_answer_without_reasoning_has_no_such_field(switched: Served) -> None:
    client, _ = switched
    answer = await ask(client, said("hello"))
    assert "reasoning" not in answer["choices"][0]["message"]
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0


async def test_reasoning_that_the_prompt_opens_is_cut_by_max_tokens(opened: Served) -> None:
    client, engine = opened
    engine.script = Script(answer=THOUGHT.removeprefix("<think>\n"))
    answer = await ask(client, said("2+2?", max_tokens=2))
    [choice] = answer["choices"]
    assert choice["message"] | {"reasoning": "Two and"} == choice["message"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "length")
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 2
    whole = await stream(client, said("2+2?"))
    assert (joined(whole, "reasoning"), joined(whole, "content")) == ("Two and two.", "Four.")


async def test_tool_calls_follow_the_reasoning(switched: Served) -> None:
    client, engine = switched
    engine.script = Script(answer=f"<think>add</think>\n\n{CALL}")
    [choice] = (await ask(client, said("2+2?", tools=TOOLS)))["choices"]
    assert choice["message"]["reasoning"] == "add"
    assert [call["function"]["name"] for call in choice["message"]["tool_calls"]] == ["add"]
    assert choice["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("fields", "thinks"),
    [
        ({}, True),
        ({"chat_template_kwargs": {"enable_thinking": False}}, False),
        ({"chat_template_kwargs": {"enable_thinking": True}}, True),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "high"}, True),
        ({"reasoning_effort": "none", "chat_template_kwargs": {"enable_thinking": True}}, True),
        ({"enable_thinking": False}, False),
        ({"enable_thinking": False, "chat_template_kwargs": {"enable_thinking": True}}, True),
        ({"think": False, "reasoning_effort": "high"}, False),
        ({"thinking": {"type": "disabled"}}, False),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}, "reasoning_effort": "none"}, True),
        ({"response_format": {"type": "json_object"}}, False),
    ],
)
async def test_a_request_switches_thinking(switched: Served, fields: dict[str, Any], thinks: bool) -> None:
    client, engine = switched
    await ask(client, said("hello", **fields))
    assert prompt_of(engine).endswith("</think>\n\n") is not thinks


async def test_a_switch_that_the_model_does_not_have_is_refused(opened: Served) -> None:
    client, _ = opened
    await ask(client, said("hello", chat_template_kwargs={"enable_thinking": True}))
    await ask(client, said("hello", reasoning_effort="none"))
    answer = await client.post(
        "/v1/chat/completions", json=said("hello", chat_template_kwargs={"enable_thinking": False})
    )
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "chat_template_kwargs.enable_thinking"
    assert error["message"].startswith("This model always thinks")


async def test_other_template_variables_are_refused_by_name(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/v1/chat/completions", json=said("hello", chat_template_kwargs={"custom_date": "1 May"})
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "chat_template_kwargs.custom_date")
    assert error["hint"] == "Only enable_thinking can be set."


async def test_a_model_that_does_not_think_refuses_only_to_think(client: httpx.AsyncClient) -> None:
    await ask(client, said("hello", chat_template_kwargs={"enable_thinking": False}, reasoning_effort="low"))
    answer = await client.post(
        "/v1/chat/completions", json=said("hello", chat_template_kwargs={"enable_thinking": True})
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("This model does not think")


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_history_gives_earlier_reasoning_to_the_template(tmp_path: Path, field: str) -> None:
    template = CHAT_TEMPLATE.replace(
        "{{ '<|im_start|>assistant\\n' + body(message.content or '') }}",
        "{{ '<|im_start|>assistant\\n' + (message.reasoning_content or '') + body(message.content or '') }}",
    )
    assert template != CHAT_TEMPLATE
    async for client, engine in serve(tmp_path, template):
        turn = {"role": "assistant", "content": "Four.", field: "I added. <|im_end|>"}
        question = {"role": "user", "content": "why?"}
        await ask(client, {"messages": [question, turn, question]})
        ids = engine.requests[-1].prompt_token_ids
        assert "I added. <|im_end|>Four." in prompt_of(engine)
        # The client's text is never a control token: one for each of three messages.
        assert ids.count(engine._tokenizer.token_to_id("<|im_end|>")) == 3


async def test_a_spoken_answer_keeps_its_text_whole(switched: Served) -> None:
    client, engine = switched
    engine.script = Script(answer="<think>a</think>b")
    message = (await ask(client, said("hi", **SPOKEN)))["choices"][0]["message"]
    assert message["audio"]["transcript"] == "<think>a</think>b"


def test_templates_are_probed_once(tmp_path: Path) -> None:
    for name, text, opens in (("a", SWITCHED, False), ("b", OPENED, True), ("c", CHAT_TEMPLATE, False)):
        template = PromptRenderer.from_folder(write_tiny_checkpoint(tmp_path / name, text)).template
        assert template.opens_thinking(None) is opens
        assert template.thinks is (name != "c")
