"""What a model or a server cannot do is refused by name, and some ways of asking that no other test takes."""

from __future__ import annotations

import base64
import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from antiphon_server.chat.prompt.renderer import PromptRenderer
from antiphon_server.chat.service import Service
from antiphon_server.config.realtime import RealtimePolicy
from antiphon_server.errors import RateExceeded
from antiphon_server.http.app import create_app
from antiphon_server.http.lifecycle import Lifecycle
from antiphon_server.http.realtime.input_budget import InputBudget
from antiphon_server.openai_api.realtime.session import MuLaw, PcmInput
from tests.echo_engine import EchoEngine, Script
from tests.server.parts import make_service, prompt_parts
from tests.server.realtime.machines import kinds, make_machine, send, silence, user_text
from tests.server.realtime_client import RealtimeClient, tone

TEXT = {"type": "realtime", "output_modalities": ["text"]}
TOOL = {"type": "function", "name": "add", "parameters": {"type": "object"}}
LISTENING: dict[str, Any] = {"format": {"type": "audio/pcm", "rate": 16_000}}


async def test_a_model_without_speech_answers_in_text(checkpoint: Path) -> None:
    app = create_app(make_service(checkpoint, EchoEngine(checkpoint, speaks=False)))
    async with RealtimeClient(app) as client:
        created = (await client.until("session.created"))["session"]
        assert created["output_modalities"] == ["text"]
        client.send("session.update", session={"type": "realtime", "output_modalities": ["audio"]})
        assert (await client.until("error"))["error"]["param"] == "session.output_modalities"
        done = (await client.say("hello"))["response"]
        assert done["output"][0]["content"] == [{"type": "output_text", "text": "hello"}]


async def test_a_model_that_sees_or_hears_nothing_says_so(service: Service, engine: EchoEngine) -> None:
    engine._card = replace(engine.card, input_modalities=("text", "audio"))
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    async with RealtimeClient(create_app(service)) as client:
        client.send("conversation.item.create", item={**user_text(""), "content": [image]})
        assert "image" in (await client.until("error"))["error"]["message"]
        await client.ask("input_audio_buffer.clear", "input_audio_buffer.cleared")
    engine._card = replace(engine.card, input_modalities=("text",))
    async with RealtimeClient(create_app(service)) as client:
        assert client.status == 400
        assert client.refusal["param"] == "session.audio.input.turn_detection"


async def test_tools_need_a_template_that_shows_them(service: Service, checkpoint: Path) -> None:
    template, tokenizer, placeholders = prompt_parts(checkpoint)
    plain = copy.copy(template)
    plain.takes_tools = False
    prompts = PromptRenderer(plain, tokenizer, placeholders, service.settings.chat.prompt)
    async with RealtimeClient(create_app(replace(service, prompts=prompts))) as client:
        client.send("session.update", session={"type": "realtime", "tools": [TOOL]})
        assert (await client.until("error"))["error"]["param"] == "session.tools"


async def test_a_response_after_the_end_of_the_grace_period_fails(service: Service) -> None:
    life = Lifecycle()
    async with RealtimeClient(create_app(service, life)) as client:
        await client.until("session.created")
        life.stage = "closed"
        error = (await client.say("hello"))["response"]["status_details"]["error"]
        assert error["code"] == "shutting_down"
        assert "retry_after_ms: " in error["message"]


async def test_a_named_function_is_called_in_pieces(service: Service, engine: EchoEngine) -> None:
    engine.scripts.append(Script(answer='{"name": "add", "arguments": {"a": 1, "b": [2, 3]}}'))
    async with RealtimeClient(create_app(service)) as client:
        await client.ask("session.update", "session.updated", session=TEXT)
        choice = {"type": "function", "name": "add"}
        done = (await client.say("go", tools=[TOOL], tool_choice=choice))["response"]
        kind = "response.function_call_arguments.delta"
        deltas = [event["delta"] for event in client.events if event["type"] == kind]
        assert len(deltas) > 1
        assert "".join(deltas) == done["output"][0]["arguments"] == '{"a": 1, "b": [2, 3]}'


async def test_a_call_that_the_client_adds_is_shown_to_the_model(
    service: Service, engine: EchoEngine
) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a": 1}'}
    output = {"type": "function_call_output", "call_id": "c1", "output": "42"}
    async with RealtimeClient(create_app(service)) as client:
        await client.ask("session.update", "session.updated", session={**TEXT, "tools": [TOOL]})
        for item in (user_text("add"), call, output):
            await client.ask("conversation.item.create", "conversation.item.done", item=item)
        await client.ask("response.create", "response.done")
    prompt = engine._tokenizer.decode(list(engine.requests[-1].prompt_token_ids), skip_special_tokens=False)
    assert '{"name": "add", "arguments": {"a": 1}}' in prompt
    assert "<tool_response>\n42\n</tool_response>" in prompt


async def test_speech_that_reaches_its_limit_is_incomplete(service: Service, engine: EchoEngine) -> None:
    engine.script = Script(max_frames=2)
    async with RealtimeClient(create_app(service)) as client:
        done = (await client.say("hello there"))["response"]
        assert done["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}


def test_less_than_100_ms_are_no_audio_of_an_item() -> None:
    content = [{"type": "input_audio", "audio": silence(90)}]
    item = {"type": "message", "role": "user", "content": content}
    (event,) = send(make_machine(), "conversation.item.create", item=item).events
    assert event["error"]["param"] == "item.content[0].audio"


def test_a_detected_turn_beyond_the_limit_of_items_is_an_error() -> None:
    machine = make_machine(items=1)
    send(machine, "conversation.item.create", item=user_text("x"))
    send(machine, "input_audio_buffer.append", audio=silence(3_000))
    steps = [machine.hear(probability) for probability in [0.9] * 20 + [0.0] * 20]
    events = [event for step in steps for event in step.events]
    named = ["input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", "error"]
    assert [event["type"] for event in events] == named
    assert events[-1]["error"]["code"] == "item_limit_exceeded"
    # The next one has an id of its own, and room if the client deletes.
    for item in list(machine.conversation):
        send(machine, "conversation.item.delete", item_id=item.id)
    assert kinds(machine.hear(0.9)) == []


def test_input_is_limited_to_a_multiple_of_real_time() -> None:
    now = [0.0]
    budget = InputBudget(RealtimePolicy(input_speed=2, input_burst_s=1), lambda: now[0])
    pcm, law = PcmInput(type="audio/pcm"), MuLaw(type="audio/pcmu")
    budget.spend(48_000, pcm)
    with pytest.raises(RateExceeded) as refused:
        budget.spend(4_000, law)
    assert refused.value.retry_after_s == pytest.approx(0.25)
    now[0] = 0.25
    budget.spend(4_000, law)
    # What was not sent is not saved up beyond the burst.
    now[0] = 1_000.0
    budget.spend(48_000, pcm)
    with pytest.raises(RateExceeded):
        budget.spend(480, pcm)


class Loud:
    """Loud is speech."""

    async def score(self, _: object, frames: np.ndarray) -> np.ndarray:
        return (np.abs(frames).max(1) > 1_000).astype(np.float32)


@pytest.mark.parametrize(("least_ms", "is_cut"), [(0, True), (600, False)])
async def test_a_setting_says_how_short_speech_interrupts(
    checkpoint: Path, least_ms: int, is_cut: bool
) -> None:
    engine, scorer = EchoEngine(checkpoint), Loud()
    engine.script = Script(hang_at=3)
    policy = RealtimePolicy(interrupt_min_ms=least_ms)
    made: Any = make_service(checkpoint, engine, realtime=policy)
    async with RealtimeClient(create_app(replace(made, voice_activity=scorer))) as client:
        session = {"type": "realtime", "audio": {"input": LISTENING}}
        await client.ask("session.update", "session.updated", session=session)
        await client.ask("conversation.item.create", "conversation.item.done", item=user_text("hello there"))
        await client.ask("response.create", "response.output_item.added")
        client.send("input_audio_buffer.append", audio=tone(0.3, 16_000))
        client.send("input_audio_buffer.append", audio=base64.b64encode(bytes(32_000)).decode())
        await client.until("input_audio_buffer.committed")
        assert any(event["type"] == "response.done" for event in client.events) == is_cut


async def test_a_session_that_no_client_secret_can_hold_is_refused(service: Service) -> None:
    transport = httpx.ASGITransport(create_app(service))
    text = base64.b64encode(np.random.default_rng(0).bytes(8_000)).decode()
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        body = {"session": {"type": "realtime", "instructions": text}}
        refused = await http.post("/v1/realtime/client_secrets", json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "session")


@pytest.mark.parametrize(
    ("item", "param"),
    [
        (
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_audio", "transcript": "x", "audio": "AAAA"}],
            },
            "audio",
        ),
        (
            {"type": "message", "role": "system", "content": [{"type": "input_audio", "audio": "AAAA"}]},
            "type",
        ),
        (
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_image", "image_url": "https://example.org/a.png"}],
            },
            "image_url",
        ),
        ({"type": "message", "role": "tool", "content": []}, "item"),
    ],
)
async def test_items_that_no_client_may_add_are_refused(
    service: Service, item: dict[str, Any], param: str
) -> None:
    async with RealtimeClient(create_app(service)) as client:
        client.send("conversation.item.create", item=item, event_id="mine")
        error = (await client.until("error"))["error"]
        assert error["event_id"] == "mine"
        assert error["param"].endswith(param)
