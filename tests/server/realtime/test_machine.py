"""The state machine by example: the order of events of turns, responses, calls, cuts and refusals."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from antiphon_executor.interface.events import SpeechDelta, TextDelta
from antiphon_server.realtime.effects import Listen, StartResponse, Step, StopResponse, Transcribe
from antiphon_server.realtime.items import Message
from antiphon_server.realtime.machine import RealtimeMachine
from antiphon_server.realtime.open_response import OpenResponse, Outcome
from tests.server.realtime.machines import PUSH_TO_TALK, kinds, make_machine, send, silence, start, user_text
from tests.server.speaking import speak

SIXTEEN_KHZ = {"type": "audio/pcm", "rate": 16_000}
FAILED = Outcome("failed", None, {"type": "server_error", "code": "x", "message": "y"})


def error_of(step: Step) -> dict[str, Any]:
    (event,) = step.events
    assert event["type"] == "error"
    error: dict[str, Any] = event["error"]
    return error


def sound(response: OpenResponse, ms: int) -> list[dict[str, Any]]:
    response.sound.add(bytes(48 * ms))
    return response.add_audio("AAAA")


def detect(machine: RealtimeMachine, *probabilities: tuple[float, int]) -> Step:
    step = Step()
    for probability, frames in probabilities:
        for _ in range(frames):
            step.add(machine.hear(probability))
    return step


def append(machine: RealtimeMachine, frames: int) -> Step:
    """`frames` of 32 ms."""
    return send(machine, "input_audio_buffer.append", audio=silence(32 * frames))


def test_a_connection_opens_with_its_session_and_conversation() -> None:
    machine = make_machine()
    created, conversation = machine.open()
    assert created["session"]["audio"]["input"]["turn_detection"]["type"] == "server_vad"
    assert conversation["conversation"] == {"id": machine.conversation.id, "object": "realtime.conversation"}


def test_a_pushed_turn_becomes_an_item_and_starts_no_response() -> None:
    machine = make_machine(PUSH_TO_TALK)
    assert kinds(send(machine, "input_audio_buffer.append", audio=silence(100))) == []
    step = send(machine, "input_audio_buffer.commit")
    assert kinds(step) == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert step.events[0]["previous_item_id"] is None
    item = step.events[2]["item"]
    assert item["content"] == [{"type": "input_audio", "transcript": None}]
    assert (item["role"], item["status"]) == ("user", "completed")
    assert step.effects == []


@pytest.mark.parametrize("ms", [0, 99])
def test_less_than_100_ms_cannot_be_committed(ms: int) -> None:
    machine = make_machine(PUSH_TO_TALK)
    send(machine, "input_audio_buffer.append", audio=silence(ms) or "AAA=")
    refused = send(machine, "input_audio_buffer.commit", event_id="mine")
    assert error_of(refused)["code"] == "input_audio_buffer_commit_empty"
    assert error_of(refused)["event_id"] == "mine"


def test_clear_answers_also_if_there_is_nothing() -> None:
    machine = make_machine(PUSH_TO_TALK)
    send(machine, "input_audio_buffer.append", audio=silence(200))
    assert kinds(send(machine, "input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    assert kinds(send(machine, "input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    assert error_of(send(machine, "input_audio_buffer.commit"))["code"] == "input_audio_buffer_commit_empty"


def test_clear_drops_half_a_sample_too() -> None:
    """Else all audio that follows would be noise."""
    machine = make_machine({"audio": {"input": {"turn_detection": None, "format": SIXTEEN_KHZ}}})
    samples = np.arange(3_200, dtype="<i2")
    send(machine, "input_audio_buffer.append", audio=base64.b64encode(b"abc").decode())
    send(machine, "input_audio_buffer.clear")
    send(machine, "input_audio_buffer.append", audio=base64.b64encode(samples.tobytes()).decode())
    assert np.array_equal(machine.speech_samples(0, 10_000)[-3_200:], samples)


def test_a_detected_turn_becomes_an_item_and_starts_a_response() -> None:
    machine = make_machine()
    assert isinstance(append(machine, 60).effects[0], Listen)
    step = detect(machine, (0.0, 20), (0.9, 20), (0.0, 16))
    assert kinds(step) == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    started, stopped, committed = step.events[:3]
    assert started["audio_start_ms"] == 20 * 32 - 300
    assert stopped["audio_end_ms"] == 40 * 32 + 200
    assert started["item_id"] == stopped["item_id"] == committed["item_id"]
    assert isinstance(step.effects[-1], StartResponse)
    (item,) = machine.conversation
    assert isinstance(item, Message)
    assert abs(item.parts[0].sound.seconds - 1.14) < 0.01  # type: ignore[union-attr]


def test_transcription_is_asked_for_where_the_session_wants_it() -> None:
    machine = make_machine(
        {"audio": {"input": {"transcription": {"model": "whisper-1"}, "turn_detection": None}}}
    )
    send(machine, "input_audio_buffer.append", audio=silence(200))
    (effect,) = send(machine, "input_audio_buffer.commit").effects
    assert isinstance(effect, Transcribe)
    (done,) = machine.transcribed(effect.part, effect.item_id, 0, "hello", {"type": "tokens"})
    assert done["transcript"] == "hello"
    retrieved = send(machine, "conversation.item.retrieve", item_id=effect.item_id).events[0]["item"]
    assert retrieved["content"][0]["transcript"] == "hello"
    assert len(base64.b64decode(retrieved["content"][0]["audio"])) == 2 * 3_200


def test_a_spoken_response_in_order() -> None:
    machine = make_machine(PUSH_TO_TALK)
    step = send(machine, "response.create", response={"metadata": {"client_event_id": "7"}})
    (effect,) = step.effects
    assert isinstance(effect, StartResponse)
    response = effect.response
    events = [*step.events, *response.add_text("Hi", 0.0), *sound(response, 80)]
    events += machine.end_response(response, Outcome()).events
    assert [event["type"] for event in events] == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    assert events[0]["response"]["metadata"] == {"client_event_id": "7"}
    assert events[0]["response"]["status"] == "in_progress"
    assert events[2]["previous_item_id"] is None
    assert events[2]["item"]["content"] == []
    assert events[3]["part"] == {"type": "audio", "transcript": ""}
    assert events[7]["transcript"] == "Hi"
    done = events[-1]["response"]
    assert (done["status"], done["status_details"]) == ("completed", None)
    assert done["output"][0]["content"] == [{"type": "output_audio", "transcript": "Hi"}]


def test_calls_are_items_of_their_own_behind_the_message() -> None:
    machine = make_machine({"output_modalities": ["text"], **PUSH_TO_TALK})
    response = start(machine)
    events = [*response.add_text("Let me see."), *response.begin_call("call_a", "look")]
    events += [*response.add_arguments('{"at":'), *response.add_arguments(" 1}")]
    events += machine.end_response(response, Outcome()).events
    assert [event["type"] for event in events][4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    arguments = next(e for e in events if e["type"] == "response.function_call_arguments.done")
    assert (arguments["arguments"], arguments["call_id"], arguments["name"]) == (
        '{"at": 1}',
        "call_a",
        "look",
    )
    assert [e["output_index"] for e in events if e["type"] == "response.output_item.added"] == [0, 1]
    answered = {"type": "function_call_output", "call_id": "call_a", "output": "3"}
    added = send(machine, "conversation.item.create", item=answered).events[0]
    assert added["previous_item_id"] == events[-1]["response"]["output"][1]["id"]


def test_a_busy_conversation_refuses_a_second_response_but_not_one_beside_it() -> None:
    machine = make_machine(PUSH_TO_TALK)
    start(machine)
    code = "conversation_already_has_active_response"
    assert error_of(send(machine, "response.create"))["code"] == code
    beside = start(machine, conversation="none", input=[user_text("x")], output_modalities=["text"])
    events = [*beside.add_text("y"), *machine.end_response(beside, Outcome()).events]
    assert not [event for event in events if event["type"].startswith("conversation.")]
    assert events[-1]["response"]["conversation_id"] is None
    assert len(machine.conversation) == 0


def test_a_cancelled_response_closes_what_is_open_and_then_is_silent() -> None:
    machine = make_machine(PUSH_TO_TALK)
    response = start(machine)
    response.add_text("One", 0.0)
    sound(response, 80)
    step = send(machine, "response.cancel", response_id=response.head.id)
    assert kinds(step)[-1] == "response.done"
    assert step.effects == [StopResponse(response)]
    done = step.events[-1]["response"]
    assert (done["status"], done["status_details"]) == (
        "cancelled",
        {"type": "cancelled", "reason": "client_cancelled"},
    )
    assert done["output"][0]["status"] == "incomplete"
    assert machine.end_response(response, Outcome()).events == []
    assert machine.responses.active is None


def test_cancelling_nothing_is_an_error_that_livekit_knows() -> None:
    error = error_of(send(make_machine(), "response.cancel"))
    assert error["code"] == "response_cancel_not_active"
    assert error["message"].startswith("Cancellation failed: ")


def test_a_failed_response_says_why() -> None:
    machine = make_machine(PUSH_TO_TALK)
    done = machine.end_response(start(machine), FAILED).events[-1]["response"]
    assert done["status"] == "failed"
    assert done["status_details"] == {"type": "failed", "error": FAILED.error}


def test_speech_interrupts_the_response_at_once() -> None:
    machine = make_machine()
    response = start(machine)
    response.add_text("One two", 0.0)
    sound(response, 800)
    response.played = lambda: 4_800
    append(machine, 10)
    step = detect(machine, (0.9, 3))
    assert kinds(step)[0] == "input_audio_buffer.speech_started"
    assert kinds(step)[-1] == "response.done"
    assert step.events[-1]["response"]["status_details"]["reason"] == "turn_detected"
    assert response.sound.heard_samples == 4_800


@pytest.mark.parametrize("ms", [0, 500])
def test_short_speech_need_not_interrupt(ms: int) -> None:
    machine = make_machine(interrupt_ms=ms)
    start(machine)
    append(machine, 60)
    assert ("response.done" in kinds(detect(machine, (0.9, 6), (0.0, 16)))) == (not ms)


def test_without_interruption_the_turn_waits_for_the_response() -> None:
    machine = make_machine(
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}}}
    )
    response = start(machine)
    append(machine, 60)
    step = detect(machine, (0.9, 20), (0.0, 16))
    assert "response.done" not in kinds(step)
    assert "response.created" not in kinds(step)
    after = machine.end_response(response, Outcome())
    assert kinds(after) == ["response.done", "response.created"]


def say(response: OpenResponse, text: str) -> tuple[tuple[int, int], ...]:
    """Speak a text as the alignment's own model of a voice does; where its words are."""
    said = speak(text)
    ends = tuple(range(1, len(text) + 1))
    response.sound.words.add_text(TextDelta(0, text, len(text), (), ends))
    response.sound.words.end_text()
    for at in range(0, len(said.pcm), 3_840):
        piece = said.pcm[at : at + 3_840]
        response.sound.words.add_speech(SpeechDelta(piece, 1, len(text)))
        response.sound.add(piece)
    response.add_text(text, 0.0)
    return said.words


def test_truncation_keeps_the_words_that_were_heard_and_their_sound() -> None:
    machine = make_machine(PUSH_TO_TALK)
    response = start(machine)
    text = "One two three four, five six seven eight."
    words = say(response, text)
    response.sound.words.end_speech("stop")
    machine.end_response(response, Outcome())
    item_id = machine.conversation.last_id
    assert item_id is not None
    ms = words[3][1] * 1_000 // 24_000 + 60
    step = send(machine, "conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=ms)
    assert step.events[0]["type"] == "conversation.item.truncated"
    (item,) = machine.conversation
    assert isinstance(item, Message)
    part = item.parts[0]
    heard: str = part.heard_text  # type: ignore[union-attr]
    assert text.startswith(heard)
    assert heard in ("One two three", "One two three four,")
    retrieved = send(machine, "conversation.item.retrieve", item_id=item_id).events[0]["item"]["content"][0]
    audio = retrieved["audio"]
    assert retrieved["transcript"] == heard
    assert len(base64.b64decode(audio)) == ms * 48
    longer = len(np.frombuffer(base64.b64decode(audio), "<i2")) // 24 - 30
    send(machine, "conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=0)
    send(machine, "conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=longer)
    assert part.heard_text == ""  # type: ignore[union-attr]


def test_truncation_beyond_the_sound_is_refused_and_a_little_beyond_is_clamped() -> None:
    machine = make_machine(PUSH_TO_TALK)
    response = start(machine)
    sound(response, 1_000)
    fields = {"item_id": response.open_id, "content_index": 0}
    assert kinds(send(machine, "conversation.item.truncate", **fields, audio_end_ms=1_080)) == [
        "conversation.item.truncated"
    ]
    assert (
        error_of(send(machine, "conversation.item.truncate", **fields, audio_end_ms=1_081))["code"]
        == "invalid_value"
    )
    unknown = send(machine, "conversation.item.truncate", item_id="none", content_index=0, audio_end_ms=0)
    assert error_of(unknown)["code"] == "item_truncate_invalid_item_id"


def test_items_are_placed_found_and_deleted() -> None:
    machine = make_machine(PUSH_TO_TALK)
    create = "conversation.item.create"
    send(machine, create, item=user_text("b", id="b"))
    assert (
        send(machine, create, item=user_text("a", id="a"), previous_item_id="root").events[0][
            "previous_item_id"
        ]
        is None
    )
    assert (
        send(machine, create, item=user_text("c", id="c"), previous_item_id="a").events[0]["previous_item_id"]
        == "a"
    )
    assert [item.id for item in machine.conversation] == ["a", "c", "b"]
    assert (
        error_of(send(machine, create, item=user_text("a", id="a")))["code"]
        == "item_create_duplicate_item_id"
    )
    assert (
        error_of(send(machine, create, item=user_text("x"), previous_item_id="none"))["param"]
        == "previous_item_id"
    )
    assert kinds(send(machine, "conversation.item.delete", item_id="c")) == ["conversation.item.deleted"]
    for action in ("retrieve", "delete"):
        gone = error_of(send(machine, f"conversation.item.{action}", item_id="c"))
        assert gone["code"] == f"item_{action}_invalid_item_id"


def test_a_conversation_has_a_limit_of_items() -> None:
    machine = make_machine(PUSH_TO_TALK, items=1)
    send(machine, "conversation.item.create", item=user_text("a"))
    refused = error_of(send(machine, "conversation.item.create", item=user_text("b")))
    assert refused["code"] == "item_limit_exceeded"


def test_the_voice_stays_once_it_was_heard() -> None:
    machine = make_machine(PUSH_TO_TALK)
    voice = {"type": "realtime", "audio": {"output": {"voice": "aiden"}}}
    assert kinds(send(machine, "session.update", session=voice)) == ["session.updated"]
    sound(start(machine), 80)
    other = {"type": "realtime", "audio": {"output": {"voice": "ethan"}}}
    assert error_of(send(machine, "session.update", session=other))["code"] == "cannot_update_voice"


def test_an_event_of_webrtc_is_refused() -> None:
    assert error_of(send(make_machine(), "output_audio_buffer.clear"))["code"] == "unsupported_event"


def test_a_full_buffer_is_refused_and_not_a_detected_turn() -> None:
    machine = make_machine(PUSH_TO_TALK, turn_s=1.0)
    refused = send(machine, "input_audio_buffer.append", audio=silence(1_100))
    assert error_of(refused)["code"] == "input_audio_buffer_full"
