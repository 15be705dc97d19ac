"""A stream's real-time factor does not depend on pauses for its client."""

from __future__ import annotations

import pytest

from antiphon_executor.interface.playback import FRAME_S, seconds_of
from antiphon_executor.turn.generation_clock import GenerationClock

PARK_S = 8.0


def long_answer(frame_s: float, frames: int, *, live: bool = True, plays: float = 1.0) -> float | None:
    """One frame every `frame_s`; a live stream rests from a lead of 8 s until it has sunk to 4 s.

    `plays`: seconds of sound that the client takes a second.
    """
    clock = GenerationClock(PARK_S if live else None)
    now_s = began_s = 10.0
    for frame in range(1, frames + 1):
        now_s += frame_s
        clock.generated(now_s)
        consumed_s = min((now_s - began_s) * plays, seconds_of(frame))
        clock.consumed(now_s, consumed_s)
        if live and seconds_of(frame) - consumed_s > PARK_S:
            now_s = began_s + (seconds_of(frame) - PARK_S / 2) / plays
    return clock.factor


@pytest.mark.parametrize("plays", [1.0, 0.5])
def test_pauses_do_not_count(plays: float) -> None:
    """A minute of speech, at ten times real time: by the wall clock it takes most of a minute."""
    assert long_answer(FRAME_S / 10, 750, plays=plays) == pytest.approx(0.1)


@pytest.mark.parametrize("live", [True, False])
def test_without_pauses_all_its_time_counts(live: bool) -> None:
    assert long_answer(FRAME_S / 2, 50, live=live) == pytest.approx(0.5)
    assert long_answer(FRAME_S * 1.5, 750, live=live) == pytest.approx(1.5)


def test_speech_that_is_not_live_is_never_paused() -> None:
    assert long_answer(FRAME_S / 10, 750, live=False) == pytest.approx(0.1)


def test_one_frame_gives_no_factor() -> None:
    assert long_answer(FRAME_S, 1) is None
