"""A stream's audio does not click at its start or its cut, and is otherwise unchanged."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon_executor.models.code2wav.fades import (
    FADE_IN_SAMPLES,
    FADE_OUT_SAMPLES,
    JOIN_SAMPLES,
    fade_in,
    faded_in,
    faded_out,
    joined,
)

LOUD = np.full(1_920, 20_000, "<i2")


def test_a_start_fades_in_within_two_milliseconds_and_is_unchanged_after_that() -> None:
    sound = np.frombuffer(faded_in(LOUD.tobytes()), "<i2")
    assert len(sound) == len(LOUD)
    assert sound[0] == 0
    assert (np.diff(sound[:FADE_IN_SAMPLES].astype(int)) >= 0).all()
    assert np.abs(sound[:FADE_IN_SAMPLES] - LOUD[:FADE_IN_SAMPLES] * fade_in()).max() <= 0.5
    assert (sound[FADE_IN_SAMPLES:] == LOUD[FADE_IN_SAMPLES:]).all()


def test_a_cut_fades_out_and_is_unchanged_before_that() -> None:
    sound = np.frombuffer(faded_out(LOUD.tobytes()), "<i2")
    assert (sound[:-FADE_OUT_SAMPLES] == LOUD[:-FADE_OUT_SAMPLES]).all()
    assert abs(int(sound[-1])) < 2
    assert np.abs(np.diff(sound.astype(int))).max() < 40


@pytest.mark.parametrize("samples", [0, 1, 30])
def test_audio_shorter_than_the_fade_gets_a_part_of_it(samples: int) -> None:
    short = LOUD[:samples].tobytes()
    assert len(faded_in(short)) == len(faded_out(short)) == len(short)


@pytest.mark.parametrize("last", [-20_000, 20_000])
def test_a_join_has_no_step_and_is_unchanged_after_ten_milliseconds(last: int) -> None:
    after = faded_in(LOUD.tobytes())
    sound = np.frombuffer(joined(after, last), "<i2")
    assert abs(int(sound[0]) - last) < 10
    steps = np.abs(np.diff(sound[:JOIN_SAMPLES].astype(int))).max()
    assert steps <= np.abs(np.diff(np.frombuffer(after, "<i2").astype(int))).max() + 150
    assert (sound[JOIN_SAMPLES:] == LOUD[JOIN_SAMPLES:]).all()
