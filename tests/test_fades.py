"""Where a stream's sound begins and where it is cut, it neither clicks nor loses anything else."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon_executor.turn.fades import FADE_IN_SAMPLES, FADE_OUT_SAMPLES, fade_in, faded_in, faded_out

LOUD = np.full(1_920, 20_000, "<i2")


def test_a_beginning_rises_from_nothing_within_two_milliseconds_and_is_itself_behind() -> None:
    sound = np.frombuffer(faded_in(LOUD.tobytes()), "<i2")
    assert len(sound) == len(LOUD)
    assert sound[0] == 0
    assert (np.diff(sound[:FADE_IN_SAMPLES].astype(int)) >= 0).all()
    assert np.abs(sound[:FADE_IN_SAMPLES] - LOUD[:FADE_IN_SAMPLES] * fade_in()).max() <= 0.5
    assert (sound[FADE_IN_SAMPLES:] == LOUD[FADE_IN_SAMPLES:]).all()


def test_a_cut_falls_to_nothing_and_is_itself_before() -> None:
    sound = np.frombuffer(faded_out(LOUD.tobytes()), "<i2")
    assert (sound[:-FADE_OUT_SAMPLES] == LOUD[:-FADE_OUT_SAMPLES]).all()
    assert abs(int(sound[-1])) < 2
    assert np.abs(np.diff(sound.astype(int))).max() < 40


@pytest.mark.parametrize("samples", [0, 1, 30])
def test_sound_shorter_than_the_fade_fades_as_far_as_it_lasts(samples: int) -> None:
    short = LOUD[:samples].tobytes()
    assert len(faded_in(short)) == len(faded_out(short)) == len(short)
