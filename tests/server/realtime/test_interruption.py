"""What counts as heard when speech or the client cuts an answer, also one that has ended and still plays."""

from __future__ import annotations

from antiphon_server.realtime.effects import Step
from antiphon_server.realtime.machine import RealtimeMachine
from antiphon_server.realtime.open_response import OpenResponse, Outcome
from tests.server.realtime.machines import make_machine, send, silence, start

RATE_HZ = 24_000


def speaks(machine: RealtimeMachine, seconds: float, played_s: float) -> OpenResponse:
    """A response that has sent `seconds` of sound, of which the client can have played `played_s`."""
    response = start(machine)
    response.add_text("One two three", 0.0)
    response.sound.add(bytes(int(2 * seconds * RATE_HZ)))
    response.played = lambda: int(played_s * RATE_HZ)
    return response


def interrupt(machine: RealtimeMachine) -> Step:
    send(machine, "input_audio_buffer.append", audio=silence(320))
    step = Step()
    for _ in range(3):
        step.add(machine.hear(0.9))
    return step


def test_an_answer_that_has_ended_and_still_plays_is_cut_where_it_was_heard() -> None:
    machine = make_machine()
    response = speaks(machine, 3.0, played_s=1.0)
    machine.end_response(response, Outcome())
    step = interrupt(machine)
    assert [event["type"] for event in step.events] == ["input_audio_buffer.speech_started"]
    assert response.sound.heard_samples == RATE_HZ
    assert step.unheard_samples == 2 * RATE_HZ


def test_an_answer_that_was_played_to_its_end_is_not_cut() -> None:
    machine = make_machine()
    response = speaks(machine, 3.0, played_s=3.0)
    machine.end_response(response, Outcome())
    assert interrupt(machine).unheard_samples == 0
    assert not response.sound.is_cut


def test_speech_cuts_the_answer_that_still_plays_and_the_next_one_too() -> None:
    machine = make_machine()
    first = speaks(machine, 3.0, played_s=1.0)
    machine.end_response(first, Outcome())
    second = speaks(machine, 1.0, played_s=0.0)
    step = interrupt(machine)
    assert (first.sound.heard_samples, second.sound.heard_samples) == (RATE_HZ, 0)
    assert step.unheard_samples == 3 * RATE_HZ


def test_the_client_s_report_after_the_end_counts_and_what_it_takes_away_is_counted_once() -> None:
    machine = make_machine()
    response = speaks(machine, 3.0, played_s=1.0)
    machine.end_response(response, Outcome())
    item_id = machine.conversation.last_id
    fields = {"item_id": item_id, "content_index": 0}
    cut = [interrupt(machine).unheard_samples]
    for ms in (500, 2_000, 250):
        step = send(machine, "conversation.item.truncate", **fields, audio_end_ms=ms)
        cut.append(step.unheard_samples)
    assert response.sound.heard_samples == RATE_HZ // 4
    assert cut == [2 * RATE_HZ, RATE_HZ // 2, 0, RATE_HZ // 4]


def test_a_call_has_no_sound_that_could_be_truncated() -> None:
    """Its response may have spoken before it."""
    machine = make_machine()
    response = speaks(machine, 3.0, played_s=3.0)
    response.begin_call("call_a", "look")
    call = response.open_id
    refused = send(machine, "conversation.item.truncate", item_id=call, content_index=0, audio_end_ms=0)
    assert refused.events[0]["type"] == "error"
    assert response.sound.heard_samples == response.sound.samples
