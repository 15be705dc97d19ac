"""Held text goes out with its speech, and words follow theirs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from antiphon_executor.interface.events import (
    OmniEvent,
    SpeechDelta,
    SpeechEnded,
    TextDelta,
    TextEnded,
    TokenLogprob,
)
from antiphon_server.chat.request_spec import AnswerForm
from antiphon_server.chat.response.word_timestamps import WordTimestamps
from tests.server.chat.events import due

FRAME = 1_920
LOUD = (np.sin(np.arange(FRAME) * 0.1) * 8_000).astype("<i2").tobytes()
SOUND = SpeechDelta(LOUD, 1, 1)
ONE, TWO = TextDelta(0, "Hi ", 1, (), (3,)), TextDelta(0, "you", 1, (), (6,))
LAST, ENDED = TextDelta(0, "", 1), TextEnded(0, "stop")


def timestamps(**wishes: Any) -> WordTimestamps:
    fields: dict[str, Any] = {
        "stream": True, "dialect": "openai", "speaks": True, "audio_format": "pcm16", "choices": 1,
        "tool_use": "none", "include_usage": False, "continuous_usage": False,
    }  # fmt: skip
    return WordTimestamps(AnswerForm(**fields | wishes))


@pytest.mark.parametrize(
    "wishes", [{}, {"timestamps": "word"}, {"transcript_timing": "as_spoken", "speaks": False}]
)
def test_without_a_wish_for_it_text_waits_for_nothing(wishes: dict[str, Any]) -> None:
    shown = timestamps(**wishes)
    for event in (ONE, TWO, LAST, ENDED):
        assert due(shown, event) == [event]
    assert shown.due_text(0) == []


def test_words_are_not_sent_unless_the_request_asks_for_them() -> None:
    shown = timestamps(transcript_timing="as_spoken")
    for event in (ONE, LAST, ENDED, SOUND, SpeechEnded("stop", 1)):
        due(shown, event)
    assert shown.due_words(10) == []


def test_text_waits_for_the_sound_that_says_it_and_its_end_for_all_of_it() -> None:
    """`Hi ` takes 2 frames and `you` 2.6; both tokens are consumed with the first frame."""
    shown = timestamps(transcript_timing="as_spoken")
    assert [due(shown, event) for event in (ONE, TWO, LAST, ENDED)] == [[]] * 4
    assert shown.due_text(0) == []
    for _ in range(5):
        due(shown, SpeechDelta(LOUD, 1, 2))
    assert shown.due_text(FRAME) == [ONE]
    assert shown.due_text(2 * FRAME) == []
    assert shown.due_text(3 * FRAME) == [TWO]
    assert shown.due_text(4 * FRAME) == []
    assert shown.due_text(5 * FRAME) == [LAST, ENDED]


def test_text_that_has_not_been_taken_in_waits_even_if_it_should_have_been_said() -> None:
    shown = timestamps(transcript_timing="as_spoken")
    for event in (ONE, TWO, LAST, ENDED, *[SOUND] * 20):
        due(shown, event)
    assert shown.due_text(20 * FRAME) == [ONE]
    due(shown, SpeechDelta(LOUD, 1, 2))
    assert shown.due_text(20 * FRAME) == []
    assert shown.due_text(21 * FRAME) == [TWO, LAST, ENDED]


def test_speech_that_ends_early_lets_the_text_go_and_what_follows_too() -> None:
    shown = timestamps(transcript_timing="as_spoken")
    due(shown, ONE)
    due(shown, TWO)
    end = SpeechEnded("length", 0)
    assert due(shown, end) == []
    assert shown.due_text(0) == [ONE, TWO]
    assert due(shown, LAST) == [LAST]


def test_a_delta_of_several_tokens_goes_out_token_by_token() -> None:
    shown = timestamps(transcript_timing="as_spoken")
    due(shown, ONE)
    due(shown, TextDelta(0, "you there", 3, (), (6, 12)))
    for _ in range(9):
        due(shown, SpeechDelta(LOUD, 1, 3))
    written = [shown.due_text(frames * FRAME) for frames in (1, 3, 5)]
    assert [[event.text for event in events if isinstance(event, TextDelta)] for events in written] == [
        ["Hi "], ["you"], [" there"],
    ]  # fmt: skip


def test_a_delta_with_log_probabilities_stays_whole() -> None:
    several = TextDelta(
        0, "Hi you", 2, (TokenLogprob("Hi", b"Hi", -1), TokenLogprob(" you", b" you", -1)), (2, 6)
    )
    shown = timestamps(transcript_timing="as_spoken")
    due(shown, several)
    due(shown, SOUND)
    assert shown.due_text(FRAME) == [several]


def test_words_come_behind_the_sound_that_says_them() -> None:
    shown = timestamps(timestamps="word")
    events: tuple[OmniEvent, ...] = (ONE, TWO, ENDED, *[SpeechDelta(LOUD, 1, 2)] * 5, SpeechEnded("stop", 5))
    for event in events:
        due(shown, event)
    assert shown.due_words(FRAME) == []
    assert [word.text for word in shown.due_words(3 * FRAME)] == ["Hi "]
    assert [word.text for word in shown.due_words(5 * FRAME)] == ["you"]
