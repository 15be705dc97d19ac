"""Estimated times of words are close to those of a voice that is uneven, slow and pauses anywhere."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.chat.response.word_clock import WordClock
from tests.server.speaking import Said, speak

RATE = 24_000
PIECE = 3_840
TEXT = (
    "Good morning, everybody. The weather is fine today, and it will stay so until Sunday evening. "
    "Then, says the forecast, clouds come up from the west; in the north it rains. Have a nice day!"
)
WORDS = tuple(match.start() for match in re.finditer(r"[\w']+", TEXT))


def clock_of(text: str, said: Said, pace: float = 1.0) -> WordClock:
    clock = WordClock()
    clock.start_speech(pace)
    clock.add_text(text)
    for at in range(0, len(said.pcm), PIECE):
        clock.add_speech(said.pcm[at : at + PIECE])
    return clock


def errors_s(clock: WordClock, said: Said) -> list[float]:
    begins = [clock.begin_of(char) for char in WORDS]
    return [
        abs((clock.end if begin is None else begin) - true[0]) / RATE
        for begin, true in zip(begins, said.words, strict=True)
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("pace", [0.8, 1.0, 1.3])
def test_in_complete_sound_an_uneven_voice_of_any_pace_is_followed_word_by_word(
    pace: float, seed: int
) -> None:
    said = speak(TEXT, pace, unevenness=0.2, seed=seed)
    clock = clock_of(TEXT, said)
    clock.complete()
    errors = sorted(errors_s(clock, said))
    assert errors[len(errors) // 2] < 0.15
    assert errors[int(len(errors) * 0.9)] < 0.4


@pytest.mark.parametrize("pace", [0.8, 1.0, 1.3])
def test_pauses_keep_a_stream_on_its_text_though_its_pace_is_not_known(pace: float) -> None:
    """Without them, 0.3 of a pace is nearly four seconds at the end of this text."""
    said = speak(TEXT, pace, unevenness=0.1, seed=3)
    errors = errors_s(clock_of(TEXT, said), said)
    assert max(errors[len(errors) // 2 :]) < 0.8


def test_a_pause_belongs_to_no_word() -> None:
    text = "Seventeen, eighteen."
    said = speak(text)
    clock = clock_of(text, said)
    clock.complete()
    begin, end = clock.begin_of(11), clock.end_of(9)
    assert begin is not None
    assert end is not None
    assert begin == pytest.approx(said.words[1][0], abs=0.05 * RATE)
    assert end == pytest.approx(said.words[0][1], abs=0.05 * RATE)


def test_silence_before_the_first_word_is_not_of_it() -> None:
    said = speak("Seventeen")
    clock = clock_of("Seventeen", Said(bytes(2 * RATE) + said.pcm, said.words))
    assert clock.begin_of(0) == pytest.approx(RATE, abs=480)


def test_what_the_sound_has_not_reached_is_not_known() -> None:
    clock = clock_of(TEXT, speak("Good morning"))
    assert clock.begin_of(WORDS[1]) is not None
    assert clock.begin_of(WORDS[-1]) is None
    assert clock.end_of(len(TEXT)) is None


@pytest.mark.parametrize("pcm", [b"", bytes(9_600)])
def test_without_sound_nothing_is_said(pcm: bytes) -> None:
    clock = clock_of("Hello you.", Said(pcm, ()))
    clock.complete()
    assert (clock.begin_of(0), clock.end) == (None, 0)


@given(
    st.text("ab ,.\n你1", max_size=40),
    st.lists(st.tuples(st.integers(0, 6_000), st.booleans()), max_size=12),
    st.floats(0.5, 3.0),
    st.booleans(),
)
def test_times_never_go_back_and_stay_inside_the_sound(
    text: str, stretches: list[tuple[int, bool]], pace: float, complete: bool
) -> None:
    levels = [np.full(samples, 9_000 * loud, "<i2") for samples, loud in stretches]
    pcm = b"".join(level.tobytes() for level in levels)
    clock = clock_of(text, Said(pcm, ()), pace)
    if complete:
        clock.complete()
    begins = [clock.begin_of(char) for char in range(len(text))]
    ends = [clock.end_of(char) for char in range(len(text) + 1)]
    for times in (begins, ends):
        known = [time for time in times if time is not None]
        assert times[: len(known)] == known
        assert known == sorted(known)
        assert all(0 <= time <= len(pcm) // 2 for time in known)
    assert clock.end <= len(pcm) // 2
