"""The estimated length of a spoken text, and the measured pace of a voice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.interface.spoken_length import VoicePace, VoicePaces, spoken_frames, spoken_weights

COUNTING = "One, two, three, four, five, six, seven, eight, nine, ten."


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("One.", 8),
        ("The pink cross is moving down, and I hear a low tone", 44),
        ("I see an orange hexagon in the middle and a", 38),
        (COUNTING, 46),
    ],
)
def test_the_estimate_matches_measured_speech_of_nano(text: str, frames: int) -> None:
    assert spoken_frames(text) == pytest.approx(frames, rel=0.3)


@pytest.mark.parametrize(
    "text", ["你好，世界。", "こんにちは", "안녕하세요", "Привет", "नमस्ते", "1984", "l'été"]
)
def test_every_script_takes_time(text: str) -> None:
    assert 3 < spoken_frames(text) < 40


@pytest.mark.parametrize("text", ["", " \n", '"', "...", "—"])
def test_a_text_without_words_takes_no_time(text: str) -> None:
    assert spoken_frames(text) < 8


@given(st.text(max_size=60), st.text(max_size=60))
def test_more_text_never_takes_less_time(first: str, more: str) -> None:
    assert sum(spoken_weights(first + " " + more)) >= sum(spoken_weights(first))
    assert len(list(spoken_weights(first))) == len(first)


def test_a_slow_voice_is_measured_after_some_answers_and_other_voices_are_unaffected() -> None:
    paces = VoicePaces()
    slow, usual = paces.of("slow"), spoken_frames(COUNTING)
    assert (slow.frames(COUNTING), slow.uncertainty) == (pytest.approx(usual), 1.0)
    for _ in range(100):
        slow.measured(COUNTING, round(1.5 * usual))
    assert slow.frames(COUNTING) == pytest.approx(1.5 * usual, rel=0.05)
    assert slow.uncertainty < 0.1
    assert paces.of("slow") is slow
    assert paces.of("other").frames(COUNTING) == pytest.approx(usual)


def test_a_voice_that_changes_is_measured_again() -> None:
    pace, usual = VoicePace(), spoken_frames(COUNTING)
    for factor in (1.5, 0.8):
        for _ in range(400):
            pace.measured(COUNTING, round(factor * usual))
    assert pace.frames(COUNTING) == pytest.approx(0.8 * usual, rel=0.05)
