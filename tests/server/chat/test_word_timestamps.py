"""Text that waits for its sound, and words behind theirs."""

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

FRAME = 1_920
LOUD = (np.sin(np.arange(FRAME) * 0.1) * 8_000).astype("<i2").tobytes()
SOUND = SpeechDelta(LOUD, 1, 1)
ONE, TWO = TextDelta(0, "Hi ", 1, (), (3,)), TextDelta(0, "you", 1, (), (6,))
LAST, ENDED = TextDelta(0, "", 1), TextEnded(0, "stop")


def captions(**wishes: Any) -> WordTimestamps:
    fields: dict[str, Any] = {
        "stream": True, "dialect": "openai", "speaks": True, "audio_format": "pcm16", "choices": 1,
        "tool_use": "none", "include_usage": False, "continuous_usage": False,
    }  # fmt: skip
    return WordTimestamps(AnswerForm(**fields | wishes))


@pytest.mark.parametrize(
    "wishes", [{}, {"timestamps": "word"}, {"transcript_timing": "as_spoken", "speaks": False}]
)
def test_without_a_wish_for_it_text_waits_for_nothing(wishes: dict[str, Any]) -> None:
    shown = captions(**wishes)
    for event in (ONE, TWO, LAST, ENDED):
        assert shown.see(event) == [event]
    assert shown.before(0) == []


def test_words_that_nobody_asked_for_are_not_told() -> None:
    shown = captions(transcript_timing="as_spoken")
    for event in (ONE, LAST, ENDED, SOUND, SpeechEnded("stop", 1)):
        shown.see(event)
    assert shown.behind(10) == []


def test_text_waits_for_the_sound_that_says_it_and_its_end_for_all_of_it() -> None:
    """`Hi ` takes 2 frames and `you` 2.6; both tokens are taken in with the first frame."""
    shown = captions(transcript_timing="as_spoken")
    assert [shown.see(event) for event in (ONE, TWO, LAST, ENDED)] == [[]] * 4
    assert shown.before(0) == []
    for _ in range(5):
        shown.see(SpeechDelta(LOUD, 1, 2))
    assert shown.before(FRAME) == [ONE]
    assert shown.before(2 * FRAME) == []
    assert shown.before(3 * FRAME) == [TWO]
    assert shown.before(4 * FRAME) == []
    assert shown.before(5 * FRAME) == [LAST, ENDED]


def test_text_that_has_not_been_taken_in_waits_even_if_it_should_have_been_said() -> None:
    shown = captions(transcript_timing="as_spoken")
    for event in (ONE, TWO, LAST, ENDED, *[SOUND] * 20):
        shown.see(event)
    assert shown.before(20 * FRAME) == [ONE]
    shown.see(SpeechDelta(LOUD, 1, 2))
    assert shown.before(20 * FRAME) == []
    assert shown.before(21 * FRAME) == [TWO, LAST, ENDED]


def test_speech_that_ends_early_lets_the_text_go_and_what_follows_too() -> None:
    shown = captions(transcript_timing="as_spoken")
    shown.see(ONE)
    shown.see(TWO)
    end = SpeechEnded("length", 0)
    assert shown.see(end) == [end]
    assert shown.before(0) == [ONE, TWO]
    assert shown.see(LAST) == [LAST]


def test_a_delta_of_several_tokens_goes_out_token_by_token() -> None:
    shown = captions(transcript_timing="as_spoken")
    shown.see(ONE)
    shown.see(TextDelta(0, "you there", 3, (), (6, 12)))
    for _ in range(9):
        shown.see(SpeechDelta(LOUD, 1, 3))
    due = [shown.before(frames * FRAME) for frames in (1, 3, 5)]
    assert [[event.text for event in events if isinstance(event, TextDelta)] for events in due] == [
        ["Hi "], ["you"], [" there"],
    ]  # fmt: skip


def test_a_delta_with_log_probabilities_stays_whole() -> None:
    several = TextDelta(
        0, "Hi you", 2, (TokenLogprob("Hi", b"Hi", -1), TokenLogprob(" you", b" you", -1)), (2, 6)
    )
    shown = captions(transcript_timing="as_spoken")
    shown.see(several)
    shown.see(SOUND)
    assert shown.before(FRAME) == [several]


def test_words_come_behind_the_sound_that_says_them() -> None:
    shown = captions(timestamps="word")
    events: tuple[OmniEvent, ...] = (ONE, TWO, ENDED, *[SpeechDelta(LOUD, 1, 2)] * 5, SpeechEnded("stop", 5))
    for event in events:
        shown.see(event)
    assert shown.behind(FRAME) == []
    assert [word.text for word in shown.behind(3 * FRAME)] == ["Hi "]
    assert [word.text for word in shown.behind(5 * FRAME)] == ["you"]
