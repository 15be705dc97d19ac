"""What a conversation keeps and shows: its memory, what is left out of the context, turns that wait."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.client_json import ClientJson
from antiphon_server.realtime.effects import StartResponse, Step
from antiphon_server.realtime.generated_text import GeneratedText
from antiphon_server.realtime.open_response import Outcome
from antiphon_server.realtime.prompt_messages import read_items
from tests.server.realtime.machines import PUSH_TO_TALK, kinds, make_machine, send, silence, start, user_text

CALL = {"type": "function_call", "name": "f", "call_id": "c"}
OUTPUT = {"type": "function_call_output", "call_id": "c"}


@pytest.mark.parametrize(
    "item", [user_text("x" * 2_000), {**CALL, "arguments": "x" * 2_000}, {**OUTPUT, "output": "x" * 2_000}]
)
def test_text_counts_as_memory(item: dict[str, Any]) -> None:
    machine = make_machine(PUSH_TO_TALK, media_bytes=1_000)
    assert "error" not in kinds(send(machine, "conversation.item.create", item=item))
    refused = send(machine, "conversation.item.create", item=user_text("y")).events[0]["error"]
    assert refused["code"] == "conversation_media_limit_exceeded"
    (kept,) = machine.conversation
    send(machine, "conversation.item.delete", item_id=kept.id)
    assert "error" not in kinds(send(machine, "conversation.item.create", item=user_text("y")))


def test_the_sound_of_an_answer_counts_as_memory() -> None:
    machine = make_machine(PUSH_TO_TALK, media_bytes=1_000)
    before = machine.conversation.kept_bytes
    response = start(machine)
    response.add_text("Hi", 0.0)
    response.sound.add(bytes(2_000))
    machine.end_response(response, Outcome())
    assert machine.conversation.kept_bytes - before > 2_000
    refused = send(machine, "input_audio_buffer.append", audio=silence(20)).events[0]["error"]
    assert refused["code"] == "conversation_media_limit_exceeded"


def test_more_than_fits_is_refused_before_it_is_kept() -> None:
    machine = make_machine(PUSH_TO_TALK, media_bytes=1_000)
    machine.check_memory(1_000)
    with pytest.raises(BadRequest):
        machine.check_memory(1_001)


def test_audio_that_waits_for_detection_is_bounded() -> None:
    machine = make_machine(turn_s=1.0)
    assert kinds(send(machine, "input_audio_buffer.append", audio=silence(1_900))) == []
    refused = send(machine, "input_audio_buffer.append", audio=silence(200)).events[0]["error"]
    assert refused["code"] == "input_audio_buffer_full"
    for _ in range(20):
        machine.hear(0.0)
    assert kinds(send(machine, "input_audio_buffer.append", audio=silence(200))) == []


def test_the_context_is_kept_if_its_new_first_item_was_deleted() -> None:
    machine = make_machine(PUSH_TO_TALK)
    for name in ("a", "b"):
        send(machine, "conversation.item.create", item=user_text(name, id=name))
    machine.conversation.forget_before("gone")
    assert [item.id for item in machine.conversation.context] == ["a", "b"]
    machine.conversation.forget_before("b")
    assert [item.id for item in machine.conversation.context] == ["b"]


def test_a_call_that_was_cut_is_not_shown_to_the_model() -> None:
    machine = make_machine({"output_modalities": ["text"], **PUSH_TO_TALK})
    send(machine, "conversation.item.create", item=user_text("look"))
    response = start(machine)
    response.begin_call("call_a", "look")
    response.add_arguments('{"at": ')
    machine.end_response(response, Outcome("incomplete", "max_output_tokens"))
    assert len(machine.conversation) == 2
    read = read_items("", machine.conversation, (), ClientJson(64, 1_000))
    assert [message["role"] for message in read.messages] == ["user"]


def test_speech_that_interrupts_also_answers_the_turn_that_waited() -> None:
    """Its response would begin while the user speaks."""
    machine = make_machine(interrupt_ms=500)
    start(machine)
    send(machine, "input_audio_buffer.append", audio=silence(5_000))
    step = Step()
    for probability, frames in ((0.9, 6), (0.0, 20), (0.9, 30)):
        for _ in range(frames):
            step.add(machine.hear(probability))
    assert kinds(step).count("input_audio_buffer.committed") == 1
    assert kinds(step)[-1] == "response.done"
    assert not [effect for effect in step.effects if isinstance(effect, StartResponse)]
    after = Step()
    for _ in range(20):
        after.add(machine.hear(0.0))
    assert kinds(after)[-1] == "response.created"


def test_an_answer_keeps_the_tokens_of_what_was_heard() -> None:
    generated = GeneratedText()
    for text, ids in (("One", (11,)), (" two", (12, 13)), ("", (14,)), (" three", (15,)), ("", (2,))):
        generated.add(text, ids)
    assert generated.ids_of("One two three") == (11, 12, 13, 14, 15, 2)
    assert generated.ids_of("One two") == (11, 12, 13, 14)
    assert generated.ids_of("One") == (11,)
    for other in ("On", "One t", "Two", "", "One two three four"):
        assert generated.ids_of(other) == ()


def test_the_tokens_of_past_answers_go_with_their_messages() -> None:
    machine = make_machine({"output_modalities": ["text"], **PUSH_TO_TALK})
    for word, token in (("One", 11), ("Two", 12)):
        send(machine, "conversation.item.create", item=user_text("next"))
        response = start(machine)
        response.generated.add(word, [token])
        response.add_text(word)
        machine.end_response(response, Outcome())
    told = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]}
    send(machine, "conversation.item.create", item=told)
    read = read_items("Be brief.", machine.conversation, (), ClientJson(64, 1_000))
    assert read.generated == {2: (11,), 4: (12,)}
    assert [read.messages[number]["content"] for number in read.generated] == ["One", "Two"]


def test_an_answer_of_several_parts_is_no_text_of_its_tokens() -> None:
    machine = make_machine({"output_modalities": ["text"], **PUSH_TO_TALK})
    response = start(machine)
    response.generated.add("Let me see.<call>And now?", [11])
    for text in ("Let me see.", "And now?"):
        response.add_text(text)
        response.begin_call("call_a", "look")
        response.add_arguments("{}")
    machine.end_response(response, Outcome())
    assert not read_items("", machine.conversation, (), ClientJson(64, 1_000)).generated
