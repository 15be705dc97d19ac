"""Each error of the interface that no other test has: its code, and the connection stays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from antiphon_executor.interface.capacity import FrameTime
from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.chat.service import Service
from antiphon_server.config.realtime import RealtimePolicy
from antiphon_server.http.app import create_app
from antiphon_server.openai_api.realtime.client_events import RefusedEvent, parse_client_event
from tests.echo_engine import EchoEngine, Script
from tests.server.parts import make_service
from tests.server.realtime.machines import PUSH_TO_TALK, make_machine, send, start, user_text
from tests.server.realtime_client import RealtimeClient


@pytest.fixture
def app(service: Service) -> FastAPI:
    return create_app(service)


@pytest.mark.parametrize(
    ("kind", "fields", "code"),
    [
        (
            "conversation.item.create",
            {"item": user_text("x"), "previous_item_id": "none"},
            "item_create_previous_item_id_not_found",
        ),
        (
            "response.create",
            {"response": {"input": [{"type": "item_reference", "id": "none"}]}},
            "item_not_found",
        ),
    ],
)
def test_an_item_that_does_not_exist_is_named(kind: str, fields: dict[str, Any], code: str) -> None:
    (event,) = send(make_machine(), kind, **fields).events
    assert event["error"]["code"] == code
    assert "none" in event["error"]["message"]


def test_responses_beside_the_conversation_are_limited_in_number() -> None:
    machine = make_machine(PUSH_TO_TALK)
    for _ in range(4):
        start(machine, conversation="none", input=[user_text("x")])
    step = send(machine, "response.create", response={"conversation": "none", "input": [user_text("x")]})
    assert [event["error"]["code"] for event in step.events] == ["too_many_responses"]
    # The conversation has a response of its own.
    start(machine)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"type": "input_audio_buffer.commit", "shown": 1}, "unsupported_parameter", "shown"),
        ({"type": "session.update", "session": {"tools": [1] * 100}}, "json_too_large", None),
        ({"type": "conversation.item.delete", "item_id": "x y"}, "invalid_value", "item_id"),
        ({"type": "response.create", "response": {"metadata": {"k": "x" * 513}}}, "invalid_value", None),
        ({"type": "response.create", "response": {"metadata": {"k" * 65: "x"}}}, "invalid_value", None),
        (
            {"type": "response.create", "response": {"metadata": {str(n): "x" for n in range(17)}}},
            "invalid_value",
            "response.metadata",
        ),
    ],
)
def test_an_event_is_refused_by_the_name_of_its_field(
    fields: dict[str, Any], code: str, param: str | None
) -> None:
    with pytest.raises(RefusedEvent) as refused:
        parse_client_event(json.dumps({"event_id": "mine", **fields}), 64, 50)
    assert (refused.value.error.code, refused.value.event_id) == (code, "mine")
    assert param is None or refused.value.error.param == param


async def test_a_binary_frame_is_refused(app: FastAPI) -> None:
    async with RealtimeClient(app) as client:
        client.send_bytes(b"\0\1")
        assert (await client.until("error"))["error"]["code"] == "invalid_frame"
        await client.ask("input_audio_buffer.clear", "input_audio_buffer.cleared")


async def test_an_empty_conversation_has_no_answer(app: FastAPI) -> None:
    async with RealtimeClient(app) as client:
        done = (await client.ask("response.create", "response.done"))["response"]
        assert done["status_details"]["error"]["code"] == "empty_conversation"
        assert (await client.say("hello"))["response"]["status"] == "completed"


async def test_items_are_referred_to(app: FastAPI, engine: EchoEngine) -> None:
    async with RealtimeClient(app) as client:
        for name in ("first", "second"):
            item = user_text(f"the {name} one", id=name)
            await client.ask("conversation.item.create", "conversation.item.done", item=item)
        asked = {
            "conversation": "none",
            "output_modalities": ["text"],
            "input": [{"type": "item_reference", "id": "first"}],
        }
        done = (await client.ask("response.create", "response.done", response=asked))["response"]
        assert done["output"][0]["content"][0]["text"] == "the first one"
    prompt = engine._tokenizer.decode(list(engine.requests[-1].prompt_token_ids))
    assert "second" not in prompt


@pytest.mark.parametrize(("ratio", "kept"), [(0.5, ["3 zq", "4 zq", "5 zq"]), (0.2, ["5 zq"])])
async def test_a_retention_ratio_chooses_how_many_turns_stay_on_a_full_context(
    app: FastAPI, engine: EchoEngine, ratio: float, kept: list[str]
) -> None:
    truncation = {"type": "retention_ratio", "retention_ratio": ratio}
    session = {"type": "realtime", "output_modalities": ["text"], "truncation": truncation}
    async with RealtimeClient(app) as client:
        await client.ask("session.update", "session.updated", session=session)
        engine.script = Script(answer="yes")
        for number in range(6):
            item = user_text(f"{number} zq " + "zq" * 500)
            await client.ask("conversation.item.create", "conversation.item.done", item=item)
        done = await client.ask("response.create", "response.done")
        assert done["response"]["status"] == "completed"
    prompt = engine._tokenizer.decode(list(engine.requests[-1].prompt_token_ids))
    assert [f"{number} zq" for number in range(6) if f"{number} zq" in prompt] == kept


async def test_a_response_that_would_not_keep_up_says_when_to_try_again(
    service: Service, engine: EchoEngine
) -> None:
    now = FrameTime((0.06,), live_stream_limit=1)
    admission = AdmissionController(Capacity(16, 16, 64, 3_600.0, 1.0, 1 << 30), lambda: now)
    app = create_app(replace(service, admission=admission))
    engine.cues["please hang"] = Script(hang_at=3)
    async with RealtimeClient(app) as one, RealtimeClient(app) as two:
        await one.ask("conversation.item.create", "conversation.item.done", item=user_text("please hang"))
        await one.ask("response.create", "response.output_item.added")
        error = (await two.say("hello"))["response"]["status_details"]["error"]
        assert error["code"] == "not_in_real_time"
        assert "retry_after_ms: " in error["message"]
        await two.ask("input_audio_buffer.clear", "input_audio_buffer.cleared")


async def test_connections_of_one_key_are_limited_in_number(checkpoint: Path) -> None:
    server = {"api_keys": ["one", "other"], "limits": {}}
    app = create_app(make_service(checkpoint, server=server, realtime=RealtimePolicy(connections_per_key=1)))
    async with RealtimeClient(app, key="one") as client:
        await client.until("session.created")
        async with RealtimeClient(app, key="one") as again:
            assert (again.status, again.refusal["code"]) == (429, "too_many_connections")
        async with RealtimeClient(app, key="other") as other:
            await other.until("session.created")


async def test_the_route_can_be_switched_off(checkpoint: Path) -> None:
    app = create_app(make_service(checkpoint, realtime=RealtimePolicy(connections=0)))
    async with RealtimeClient(app) as client:
        assert (client.status, client.refusal["code"]) == (400, "realtime_disabled")
