"""Derailed speech is detected; speech that is only slow, unusual or quiet is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.interface.events import GuardReason
from antiphon_executor.interface.settings import GuardSettings
from antiphon_executor.turn.speech_guard import SpeechGuard

SETTINGS = GuardSettings()
LOUD = (np.sin(np.arange(1920) * 0.1) * 8_000).astype("<i2").tobytes()
QUIET = (np.sin(np.arange(1920) * 0.1) * 30).astype("<i2").tobytes()


def codes(*numbers: int) -> bytes:
    return np.array(numbers, np.int16).tobytes()


def listen(guard: SpeechGuard, frames: list[tuple[bytes, bytes]]) -> tuple[int, GuardReason] | None:
    """The first verdict and the frame it came with, counted from one."""
    for number, (frame, pcm) in enumerate(frames, start=1):
        verdict = guard.check_frame(frame, pcm)
        if verdict:
            return number, verdict
    return None


def varied(count: int, pcm: bytes = LOUD) -> list[tuple[bytes, bytes]]:
    return [(codes(i, i // 7), pcm) for i in range(count)]


def test_speech_far_longer_than_its_text_is_overlong() -> None:
    guard = SpeechGuard(SETTINGS)
    guard.set_text(4, complete=True)
    assert listen(guard, varied(1_000)) == (125 + 4 * 25 + 1, "overlong")


def test_while_text_may_still_come_nothing_is_overlong() -> None:
    guard = SpeechGuard(SETTINGS)
    guard.set_text(1, complete=False)
    assert listen(guard, varied(1_000)) is None


def test_a_number_in_one_token_read_digit_by_digit_is_no_derailment() -> None:
    """Given '1234567890' in a single token, at eight frames a digit, and a long breath."""
    guard = SpeechGuard(SETTINGS)
    guard.set_text(1, complete=True)
    assert listen(guard, varied(10 * 8 + 25)) is None


@given(st.integers(1, 400), st.floats(1.0, 8.0))
def test_a_slow_voice_is_no_derailment(tokens: int, frames_per_token: float) -> None:
    guard = SpeechGuard(SETTINGS)
    guard.set_text(tokens, complete=True)
    assert listen(guard, varied(int(tokens * frames_per_token))) is None


@pytest.mark.parametrize("period", [1, 2, 3, 7, 16])
def test_frames_that_go_in_circles_are_a_cycle(period: int) -> None:
    frames = varied(40) + [(codes(5_000 + i % period, 1), LOUD) for i in range(300)]
    assert listen(SpeechGuard(SETTINGS), frames) == (40 + period + 75, "cycle")


def test_code_0_may_repeat_where_the_other_codes_differ() -> None:
    frames = [(codes(7, i), LOUD) for i in range(400)]
    assert listen(SpeechGuard(SETTINGS), frames) is None


def test_a_held_vowel_of_two_seconds_is_no_cycle() -> None:
    frames = varied(20) + [(codes(9, 9), LOUD)] * 25 + varied(20)
    assert listen(SpeechGuard(SETTINGS), frames) is None


def test_silence_without_end_is_found_and_a_pause_is_not() -> None:
    pause = varied(20) + varied(35, QUIET) + varied(20)
    assert listen(SpeechGuard(SETTINGS), pause) is None
    assert listen(SpeechGuard(SETTINGS), varied(20) + varied(200, QUIET)) == (20 + 75, "silence")


def test_a_limit_that_is_not_set_is_not_held() -> None:
    off = GuardSettings(frames_per_token=None, cycle_frames=None, silent_frames=None)
    guard = SpeechGuard(off)
    guard.set_text(1, complete=True)
    assert listen(guard, [(codes(1, 1), bytes(3840))] * 4_000) is None


def test_speech_whose_text_was_cut_ends_at_its_bound() -> None:
    guard = SpeechGuard(SETTINGS)
    guard.set_text(5, complete=True)
    guard.limit_cut_text(20, uncertainty=0)
    assert listen(guard, varied(200)) == (1.3 * 20 + 8, "overlong")


def test_speech_whose_text_was_cut_ends_in_a_pause_from_halfway_to_its_bound_on() -> None:
    guard = SpeechGuard(SETTINGS)
    guard.set_text(5, complete=True)
    guard.limit_cut_text(20, uncertainty=0)
    pauses = varied(10) + varied(4, QUIET) + varied(16) + varied(1, QUIET)
    assert listen(guard, pauses) == (31, "overlong")


def test_a_voice_that_is_not_known_is_given_more_time() -> None:
    guard = SpeechGuard(SETTINGS)
    guard.limit_cut_text(20, uncertainty=1)
    assert listen(guard, varied(200)) == (1.55 * 20 + 8, "overlong")


@given(st.integers(1, 400), st.floats(0, 1))
def test_speech_as_long_as_its_cut_text_takes_is_let_be(frames: int, uncertainty: float) -> None:
    guard = SpeechGuard(SETTINGS)
    guard.set_text(1, complete=False)
    guard.limit_cut_text(frames, uncertainty)
    assert listen(guard, varied(frames) + varied(4, QUIET)[: frames // 10]) is None


def test_a_whole_text_has_no_such_bound() -> None:
    guard = SpeechGuard(SETTINGS)
    guard.set_text(1, complete=True)
    assert listen(guard, varied(100) + varied(5, QUIET)) is None
