"""The events of a streamed response: their order, their sum, and how a stream ends."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from antiphon_server.chat.service import Service
from antiphon_server.http.app import create_app
from tests.echo_engine import EchoEngine, Script
from tests.server.exchange import Exchange, becomes_true
from tests.server.parts import make_service
from tests.server.routes.responses_client import (
    ADD,
    CALL,
    SPOKEN,
    URL,
    events_of,
    kinds_of,
    read_events,
    respond,
    without_ids,
)
from tests.server.routes.test_reasoning import SWITCHED, THOUGHT, serve

STREAMED: dict[str, Any] = {"input": "Hello, world: one two three four five.", "stream": True}
BEGIN = ["created", "in_progress"]
TEXT = ["output_item.added", "content_part.added", "output_text.delta", "output_text.done"]
DONE = ["content_part.done", "output_item.done"]
ARGUMENTS = ["function_call_arguments.delta", "function_call_arguments.done"]


@pytest.fixture
def app(service: Service) -> FastAPI:
    return create_app(service)


async def test_a_text_comes_in_openais_order(client: httpx.AsyncClient) -> None:
    events = await events_of(client, "hello world, and so on")
    assert kinds_of(events) == [*BEGIN, *TEXT, *DONE, "completed"]
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert len(deltas) > 2
    assert "".join(deltas) == "hello world, and so on"
    [item_id] = {event["item_id"] for event in events if "item_id" in event}
    assert events[0]["response"]["output"] == events[1]["response"]["output"] == []
    assert events[2]["item"] == {
        "id": item_id, "type": "message", "status": "in_progress", "role": "assistant", "content": [],
    }  # fmt: skip
    last = events[-1]["response"]
    assert last["output"] == [events[-2]["item"]]
    assert (last["status"], last["usage"]["output_tokens"]) == ("completed", len(deltas))


@pytest.mark.parametrize("answer", ["hello", f"I add. {CALL}\n{CALL}", CALL, "<tool_call>none", ""])
async def test_the_last_event_is_the_whole_answer(
    client: httpx.AsyncClient, engine: EchoEngine, answer: str
) -> None:
    engine.script = Script(answer=answer)
    whole = await respond(client, "x", tools=[ADD])
    last = (await events_of(client, "x", tools=[ADD]))[-1]["response"]
    assert without_ids(last["output"]) == without_ids(whole["output"])
    assert (last["usage"], last["tools"]) == (whole["usage"], whole["tools"])


async def test_a_call_is_an_item_after_the_text(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    engine.script = Script(answer=f"I add. {CALL}")
    events = await events_of(client, "x", tools=[ADD])
    call = ["output_item.added", *ARGUMENTS, "output_item.done"]
    assert kinds_of(events) == [*BEGIN, *TEXT, *DONE, *call, "completed"]
    assert events[-2]["item"]["arguments"] == '{"a": 1}'
    assert [event["output_index"] for event in events if "output_index" in event][-1] == 1


async def test_required_arguments_come_as_they_are_written(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    engine.script = Script(answer=json.dumps({"name": "add", "arguments": {"a": 1, "b": "three four"}}))
    body = {"tools": [ADD], "tool_choice": "required"}
    events = await events_of(client, "x", **body)
    deltas = [event["delta"] for event in events if event["type"].endswith("arguments.delta")]
    assert len(deltas) > 2
    assert "".join(deltas) == events[-1]["response"]["output"][0]["arguments"]
    cut = await events_of(client, "x", **body, max_output_tokens=9)
    assert kinds_of(cut)[-2:] == ["output_item.done", "incomplete"]
    assert cut[-2]["item"]["status"] == "incomplete"


async def test_reasoning_is_an_item_before_the_text(tmp_path: Path) -> None:
    async for client, engine in serve(tmp_path, SWITCHED):
        engine.script = Script(answer=THOUGHT)
        events = await events_of(client, "2+2?", reasoning={"effort": "high"})
        whole = await respond(client, "2+2?")
    thought = ["output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done"]
    assert kinds_of(events) == [*BEGIN, *thought, *DONE, *TEXT, *DONE, "completed"]
    reasoning, message = whole["output"]
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "Two and two."}]
    assert (reasoning["summary"], reasoning["id"][:3]) == ([], "rs_")
    assert message["content"][0]["text"] == "Four."
    assert whole["usage"]["output_tokens_details"]["reasoning_tokens"] == 8
    assert without_ids(events[-1]["response"]["output"]) == without_ids(whole["output"])


async def test_an_answer_that_is_cut_off_is_incomplete(client: httpx.AsyncClient) -> None:
    events = await events_of(client, "one two three four", max_output_tokens=2)
    last = events[-1]
    assert (last["type"], last["response"]["status"]) == ("response.incomplete", "incomplete")
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert last["response"]["output"][0]["content"][0]["text"] == "one two "


async def test_log_probabilities_come_with_their_text(client: httpx.AsyncClient) -> None:
    events = await events_of(client, "hello world", include=["message.output_text.logprobs"])
    for event in events:
        if event["type"] == "response.output_text.delta":
            assert "".join(one["token"] for one in event["logprobs"]) == event["delta"]
    assert len(events[-1]["response"]["output"][0]["content"][0]["logprobs"]) == 3


async def test_speech_and_its_transcript_come_side_by_side(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    events = await events_of(client, "good morning to you", **SPOKEN)
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds[:4] == [*BEGIN, "output_item.added", "content_part.added"]
    assert kinds[-5:] == ["audio.done", "audio.transcript.done", *DONE, "completed"]
    assert set(kinds[4:-5]) == {"audio.delta", "audio.transcript.delta"}
    said = [event["delta"] for event in events if event["type"] == "response.audio.transcript.delta"]
    heard = [event["delta"] for event in events if event["type"] == "response.audio.delta"]
    response = events[-1]["response"]
    assert "".join(said) == response["output"][0]["content"][0]["transcript"] == "good morning to you"
    assert base64.b64decode("".join(heard)) == engine.spoken[response["id"]]
    assert response["output"][0]["content"][0]["data"] == ""


@pytest.mark.parametrize("answer", [f"I add. {CALL}\n{CALL}", CALL])
async def test_a_call_is_an_item_beside_the_speech(
    client: httpx.AsyncClient, engine: EchoEngine, answer: str
) -> None:
    engine.script = Script(answer=answer)
    whole = await respond(client, "x", tools=[ADD], **SPOKEN)
    events = await events_of(client, "x", tools=[ADD], **SPOKEN)
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in whole["output"]] == [item["type"] for item in output]
    calls = [item for item in output if item["type"] == "function_call"]
    assert [call["arguments"] for call in calls] == ['{"a": 1}'] * answer.count(CALL)
    said = [part["transcript"] for item in output for part in item.get("content", [])]
    assert said == (["I add."] if answer.startswith("I") else [])
    ended = [event["output_index"] for event in events if event["type"].endswith("item.done")]
    assert sorted(ended) == list(range(len(output)))
    [status] = {item["status"] for item in output}
    assert status == "completed"


async def test_words_come_with_their_speech(client: httpx.AsyncClient) -> None:
    audio = {"format": "pcm16", "timestamp_granularities": ["word"]}
    events = await events_of(client, "good morning to you", modalities=["text", "audio"], audio=audio)
    words = [word for event in events for word in event.get("words", [])]
    assert "".join(word["word"] for word in words) == "good morning to you"
    assert events[-1]["response"]["output"][0]["content"][0]["words"] == words


@pytest.mark.parametrize("event", range(8))
@pytest.mark.parametrize("spoken", [False, True])
async def test_a_fault_at_any_event_is_the_one_end(
    app: FastAPI, engine: EchoEngine, event: int, spoken: bool
) -> None:
    """Before the first event it is an HTTP status, and later the event `response.failed`."""
    engine.script = Script(fault_at=event)
    async with Exchange(app, {**STREAMED, **(SPOKEN if spoken else {})}, URL) as exchange:
        await asyncio.wait_for(exchange.task, 60)
    assert engine.running == 0
    if event == 0:
        assert exchange.status == 500
        return
    events = read_events(exchange.body.decode())
    assert kinds_of(events)[:2] == BEGIN
    [failed] = [one for one in events if one["type"] == "response.failed"]
    assert failed is events[-1]
    assert (failed["response"]["status"], failed["response"]["error"]["code"]) == ("failed", "server_error")
    assert "secret" not in exchange.body.decode()


async def test_a_request_that_fails_after_comments_still_begins(checkpoint: Path, engine: EchoEngine) -> None:
    """The response starts after a while without an event, so that the failure has no status of its own."""
    service = make_service(checkpoint, engine, chat={"headers_s": 0.01, "silence_s": 0.01})
    engine.script = Script(fault_at=0, delay_s=0.1)
    async with Exchange(create_app(service), STREAMED, URL) as exchange:
        await asyncio.wait_for(exchange.task, 60)
    assert exchange.status == 200
    assert b": keep-alive\n\n" in exchange.body
    assert kinds_of(read_events(exchange.body.decode().replace(": keep-alive\n\n", ""))) == [
        *BEGIN,
        "failed",
    ]


@pytest.mark.parametrize("body", [STREAMED, {"input": "hello"}, {**STREAMED, **SPOKEN}])
@pytest.mark.parametrize("event", [0, 1, 3])
async def test_a_client_that_leaves_ends_its_request(
    app: FastAPI, service: Service, engine: EchoEngine, body: dict[str, Any], event: int
) -> None:
    engine.script = Script(hang_at=event)
    async with Exchange(app, body, URL) as exchange:
        assert await becomes_true(lambda: engine.running)
        exchange.disconnect()
        assert await becomes_true(lambda: not (engine.running or service.admission.requests))
        assert await becomes_true(exchange.task.done)
    load = service.admission.load
    assert load.running.sequences == load.running.streams == 0
