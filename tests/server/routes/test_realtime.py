"""`/v1/realtime` over the echo engine: connecting, responses in text and sound, calls, items, limits."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI

from antiphon_server.chat.service import Service
from antiphon_server.http.app import create_app
from tests.echo_engine import EchoEngine, Script
from tests.server.exchange import becomes_true
from tests.server.parts import make_service
from tests.server.realtime_client import RealtimeClient, tone

PUSH_TO_TALK = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
TEXT = {"type": "realtime", "output_modalities": ["text"]}
TOOL = {"type": "function", "name": "add", "parameters": {"type": "object"}}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"


@pytest.fixture
def app(service: Service) -> FastAPI:
    return create_app(service)


def pcm_of(client: RealtimeClient) -> bytes:
    deltas = [event["delta"] for event in client.events if event["type"] == "response.output_audio.delta"]
    return base64.b64decode("".join(deltas))


def user_text(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


async def test_text_is_answered_in_text(app: FastAPI) -> None:
    async with RealtimeClient(app) as client:
        await client.until("conversation.created")
        await client.ask("session.update", "session.updated", session=TEXT)
        done = (await client.say("hello world"))["response"]
        assert done["status"] == "completed"
        assert done["output"][0]["content"] == [{"type": "output_text", "text": "hello world"}]
        assert done["usage"]["output_token_details"] == {"text_tokens": 3, "audio_tokens": 0}
        assert done["usage"]["total_tokens"] == done["usage"]["input_tokens"] + 3
        assert client.kinds(5) == [
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]


async def test_an_answer_is_spoken_sample_for_sample(app: FastAPI, engine: EchoEngine) -> None:
    async with RealtimeClient(app) as client:
        done = (await client.say("good morning"))["response"]
        assert done["output"][0]["content"] == [{"type": "output_audio", "transcript": "good morning"}]
        assert pcm_of(client) == engine.spoken[done["id"]]
        deltas = [e for e in client.events if e["type"] == "response.output_audio_transcript.delta"]
        assert "".join(event["delta"] for event in deltas) == "good morning"
        assert [event["start_time"] for event in deltas] == sorted(event["start_time"] for event in deltas)
        assert all(
            len(base64.b64decode(e["delta"])) % 6 == 0
            for e in client.events[:-8]
            if "audio.delta" in e["type"]
        )
        assert engine.heard[done["id"]] == len(engine.spoken[done["id"]]) // 2


@pytest.mark.parametrize(("kind", "silent"), [("audio/pcmu", 0xFF), ("audio/pcma", 0xD5)])
async def test_an_answer_is_spoken_in_g711(app: FastAPI, engine: EchoEngine, kind: str, silent: int) -> None:
    async with RealtimeClient(app) as client:
        output = {"format": {"type": kind}}
        done = (await client.say("good evening", audio={"output": output}))["response"]
        assert done["audio"]["output"]["format"] == {"type": kind}
        assert abs(len(pcm_of(client)) - len(engine.spoken[done["id"]]) / 6) < 40


async def test_the_next_turn_sees_the_conversation(app: FastAPI, engine: EchoEngine) -> None:
    async with RealtimeClient(app) as client:
        fields = {**TEXT, "instructions": "Be brief."}
        await client.ask("session.update", "session.updated", session=fields)
        await client.say("one")
        await client.say("two")
        prompt = engine._tokenizer.decode(
            list(engine.requests[-1].prompt_token_ids), skip_special_tokens=False
        )
        assert prompt == (
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\none<|im_end|>\n"
            "<|im_start|>assistant\none<|im_end|>\n<|im_start|>user\ntwo<|im_end|>\n<|im_start|>assistant\n"
        )
        first = list(engine.requests[-2].prompt_token_ids)
        assert list(engine.requests[-1].prompt_token_ids)[: len(first)] == first


async def test_an_answer_keeps_its_tokens_in_the_next_prompt(app: FastAPI, engine: EchoEngine) -> None:
    """The echo generates pieces of four characters, whose tokens are not those of the whole text."""
    engine.script = Script(answer="The quick brown fox jumps over the lazy dog")
    pieces = ["The ", "quic", "k br", "own ", "fox ", "jump", "s ov", "er t", "he l", "azy ", "dog"]
    ids = [token for piece in pieces for token in engine._tokenizer.encode(piece).ids]
    assert ids != engine._tokenizer.encode(engine.script.answer).ids
    async with RealtimeClient(app) as client:
        await client.say("one")
        await client.say("two")
        first, second = (list(request.prompt_token_ids) for request in list(engine.requests)[-2:])
        assert second[: len(first) + len(ids)] == [*first, *ids]


async def test_a_pushed_turn_is_heard_and_decoded_once(app: FastAPI, engine: EchoEngine) -> None:
    async with RealtimeClient(app) as client:
        await client.ask(
            "session.update", "session.updated", session={**PUSH_TO_TALK, **{"output_modalities": ["text"]}}
        )
        for _ in range(5):
            client.send("input_audio_buffer.append", audio=tone(0.1))
        await client.ask("input_audio_buffer.commit", "conversation.item.done")
        engine.script = Script(answer="yes")
        done = await client.ask("response.create", "response.done")
        (clip,) = engine.requests[-1].media.audios
        assert clip.num_samples == 8_000
        assert done["response"]["usage"]["input_token_details"]["audio_tokens"] == 7
        await client.say("and now?")
        (again,) = engine.requests[-1].media.audios
        assert (again.key, type(again).__name__) == (clip.key, "KnownClip")


async def test_two_connections_share_no_conversation(app: FastAPI) -> None:
    async with RealtimeClient(app) as one, RealtimeClient(app) as two:
        ids = [(await client.until("conversation.created"))["conversation"]["id"] for client in (one, two)]
        assert ids[0] != ids[1]


async def test_a_tool_is_called_and_its_output_goes_back(app: FastAPI, engine: EchoEngine) -> None:
    call = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
    engine.scripts.append(Script(answer=f"Let me see. {call}"))
    async with RealtimeClient(app) as client:
        session = {"type": "realtime", "tools": [TOOL]}
        await client.ask("session.update", "session.updated", session=session)
        done = (await client.say("what is it"))["response"]
        spoken, called = done["output"]
        assert spoken["content"][0]["transcript"].strip() == "Let me see."
        assert (called["type"], called["name"], called["arguments"]) == ("function_call", "add", '{"a": 1}')
        kinds = client.kinds()
        assert kinds.index("response.function_call_arguments.done") > kinds.index(
            "response.output_audio.done"
        )
        output = {"type": "function_call_output", "call_id": called["call_id"], "output": "42"}
        client.send("conversation.item.create", item=output)
        engine.scripts.append(Script(answer="forty two"))
        await client.ask("response.create", "response.done")
        prompt = engine._tokenizer.decode(
            list(engine.requests[-1].prompt_token_ids), skip_special_tokens=False
        )
        assert "<tool_response>\n42\n</tool_response>" in prompt
        assert '{"name": "add", "arguments": {"a": 1}}' in prompt


async def test_a_required_call_is_streamed(app: FastAPI, engine: EchoEngine) -> None:
    engine.scripts.append(Script(answer='{"name": "add", "arguments": {"a": 1}}'))
    async with RealtimeClient(app) as client:
        done = (await client.say("go", tools=[TOOL], tool_choice="required"))["response"]
        assert [item["type"] for item in done["output"]] == ["function_call"]
        assert done["output"][0]["arguments"] == '{"a": 1}'
        assert client.kinds().count("response.function_call_arguments.delta") == 1


async def test_an_image_is_an_item(app: FastAPI, engine: EchoEngine) -> None:
    async with RealtimeClient(app) as client:
        await client.ask("session.update", "session.updated", session=TEXT)
        image = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}
        item = {
            "type": "message",
            "role": "user",
            "content": [image, {"type": "input_text", "text": "what?"}],
        }
        await client.ask("conversation.item.create", "conversation.item.done", item=item)
        await client.ask("response.create", "response.done")
        assert len(engine.requests[-1].media.images) == 1


async def test_cancelling_aborts_the_request(app: FastAPI, engine: EchoEngine, service: Service) -> None:
    engine.script = Script(hang_at=6)
    async with RealtimeClient(app) as client:
        client.send("conversation.item.create", item=user_text("please hang"))
        client.send("response.create")
        await client.until("response.output_audio.delta")
        done = (await client.ask("response.cancel", "response.done"))["response"]
        assert done["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
        assert done["usage"]["output_tokens"] > 0
        assert await becomes_true(lambda: engine.running == 0 and service.admission.requests == 0, 1)
        assert engine.aborted == 1
        engine.script = Script()
        assert (await client.say("again"))["response"]["status"] == "completed"


async def test_a_client_that_leaves_frees_everything(
    app: FastAPI, engine: EchoEngine, service: Service
) -> None:
    engine.script = Script(hang_at=6)
    async with RealtimeClient(app) as client:
        client.send("conversation.item.create", item=user_text("please hang"))
        client.send("response.create")
        client.send("response.create", response={"conversation": "none"})
        await client.until("response.output_audio.delta")
        client.disconnect()
        assert await becomes_true(lambda: engine.running == 0 and service.admission.requests == 0, 0.2)
        assert await becomes_true(client.task.done, 0.2)
    assert not app.state.realtime.open


async def test_speech_starts_a_turn_and_interrupts_the_next(checkpoint: Path) -> None:
    class Scorer:
        """Loud is speech."""

        async def score(self, _: object, frames: np.ndarray) -> np.ndarray:
            return (np.abs(frames).max(1) > 1_000).astype(np.float32)

    engine = EchoEngine(checkpoint)
    service: Any = replace(make_service(checkpoint, engine), voice_activity=Scorer())  # type: ignore[arg-type]
    engine.script = Script(answer="hello there", hang_at=5)
    silence = base64.b64encode(bytes(48_000)).decode()
    async with RealtimeClient(create_app(service)) as client:
        client.send("input_audio_buffer.append", audio=tone(1.0))
        client.send("input_audio_buffer.append", audio=silence)
        await client.until("response.output_audio.delta")
        client.send("input_audio_buffer.append", audio=tone(0.5))
        started = await client.until("input_audio_buffer.speech_started")
        done = await client.until("response.done")
        assert done["response"]["status_details"]["reason"] == "turn_detected"
        assert client.events.index(started) < client.events.index(done)
        assert await becomes_true(lambda: engine.running == 0, 1)


async def test_a_transcript_of_the_user_is_made_beside_the_conversation(
    app: FastAPI, engine: EchoEngine
) -> None:
    engine.script = Script(answer="what was said")
    async with RealtimeClient(app) as client:
        listening = {
            "turn_detection": None,
            "transcription": {"model": "gpt-4o-mini-transcribe", "language": "en"},
        }
        await client.ask(
            "session.update", "session.updated", session={"type": "realtime", "audio": {"input": listening}}
        )
        client.send("input_audio_buffer.append", audio=tone(1.0))
        client.send("input_audio_buffer.commit")
        kind = "conversation.item.input_audio_transcription"
        completed = await client.until("conversation.item.input_audio_transcription.completed")
        assert completed["transcript"] == "what was said"
        deltas = [event["delta"] for event in client.events if event["type"] == f"{kind}.delta"]
        assert "".join(deltas) == "what was said"
        assert completed["usage"]["output_tokens"] == 4


@pytest.mark.parametrize("at", [0, 2, 8])
async def test_a_fault_of_the_engine_ends_the_response_and_not_the_connection(
    app: FastAPI, engine: EchoEngine, at: int
) -> None:
    engine.scripts.append(Script(fault_at=at))
    async with RealtimeClient(app) as client:
        done = (await client.say("please fail"))["response"]
        assert done["status"] == "failed"
        assert done["status_details"]["error"]["code"] == "internal_error"
        assert "secret" not in json.dumps(done)
        assert (await client.say("again"))["response"]["status"] == "completed"


async def test_without_a_speech_stream_the_response_fails_and_says_when_to_try_again(
    checkpoint: Path,
) -> None:
    from antiphon_server.admission.capacity import Capacity
    from antiphon_server.admission.controller import AdmissionController

    engine = EchoEngine(checkpoint)
    admission = AdmissionController(Capacity(16, 1, 0, 3600.0, 30.0, 1 << 30))
    service = replace(make_service(checkpoint, engine), admission=admission)
    app = create_app(service)
    engine.cues["please hang"] = Script(hang_at=3)
    async with RealtimeClient(app) as one, RealtimeClient(app) as two:
        one.send("conversation.item.create", item=user_text("please hang"))
        one.send("response.create")
        await one.until("response.output_item.added")
        error = (await two.say("hello"))["response"]["status_details"]["error"]
        assert error["code"] == "queue_full"
        assert "retry_after_ms" in error["message"]


async def test_a_length_is_reported(app: FastAPI) -> None:
    async with RealtimeClient(app) as client:
        done = (await client.say("one two three four", max_output_tokens=2))["response"]
        assert done["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
        assert done["max_output_tokens"] == 2


async def test_on_a_full_context_the_oldest_turns_are_left_out(app: FastAPI, engine: EchoEngine) -> None:
    async with RealtimeClient(app) as client:
        await client.ask("session.update", "session.updated", session=TEXT)
        for number in range(3):
            client.send("conversation.item.create", item=user_text(f"{number} " + "zq" * 1_500))
        assert (await client.say("now"))["response"]["status"] == "completed"
        prompt = engine._tokenizer.decode(list(engine.requests[-1].prompt_token_ids))
        assert "0 zq" not in prompt
        await client.ask("session.update", "session.updated", session={**TEXT, "truncation": "disabled"})
        client.send("conversation.item.create", item=user_text("zq" * 4_000))
        failed = (await client.say("now"))["response"]
        assert failed["status_details"]["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("text", "code", "event_id"),
    [
        ("no json", "invalid_json", None),
        ("[]", "invalid_json", None),
        ('{"event_id": "e1"}', "missing_required_parameter", "e1"),
        ('{"type": "session.begin", "event_id": "e2"}', "invalid_value", "e2"),
        (
            '{"type": "response.create", "response": {"temperature": 1}, "event_id": "e3"}',
            "unsupported_parameter",
            "e3",
        ),
        ('{"type": "input_audio_buffer.append", "audio": "***", "event_id": "e4"}', "invalid_value", "e4"),
        (
            '{"type": "session.update", "session": ' + '{"a":' * 70 + "1" + "}" * 70 + "}",
            "json_too_deep",
            None,
        ),
    ],
)
async def test_an_event_that_is_not_valid_is_refused_and_the_connection_stays(
    app: FastAPI, text: str, code: str, event_id: str | None
) -> None:
    async with RealtimeClient(app) as client:
        client.send_text(text)
        error = (await client.until("error"))["error"]
        assert (error["code"], error["event_id"]) == (code, event_id)
        await client.ask("input_audio_buffer.clear", "input_audio_buffer.cleared")
