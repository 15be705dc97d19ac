"""The model of step times: what it learns, and how it extrapolates."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.scheduling.step_model import StepTimes


def learnt(*steps: tuple[int, int, float]) -> StepTimes:
    times = StepTimes()
    for batch, prompt_tokens, seconds in steps:
        times = times.with_measurement(batch, prompt_tokens, seconds)
    return times


def test_nothing_measured_is_free() -> None:
    assert StepTimes().curve(3) == [0.0, 0.0, 0.0, 0.0]
    assert StepTimes().largest == 0


def test_sizes_between_two_known_ones_lie_on_the_line_between_them() -> None:
    times = learnt(*[(2, 0, 0.020)] * 200, *[(6, 0, 0.040)] * 200)
    assert times.curve(6)[4] == pytest.approx(0.030, rel=0.05)


def test_a_larger_batch_than_ever_is_guessed_along_the_line() -> None:
    times = learnt(*[(1, 0, 0.020)] * 200, *[(4, 0, 0.035)] * 200)
    assert times.curve(8)[8] == pytest.approx(0.055, rel=0.05)
    assert times.largest == 4


def test_the_first_step_of_a_size_which_warms_up_is_forgotten() -> None:
    assert learnt((1, 0, 3.0), (1, 0, 0.02)).curve(1)[1] < 0.03


def test_one_hiccup_changes_little_and_a_slower_machine_is_learnt() -> None:
    calm = learnt(*[(4, 0, 0.03)] * 100)
    assert calm.with_measurement(4, 0, 2.0).curve(4)[4] < 0.06
    assert learnt(*[(4, 0, 0.03)] * 100, *[(4, 0, 0.06)] * 60).curve(4)[4] > 0.055


def test_prompt_tokens_cost_what_they_add() -> None:
    times = learnt(*[(2, 0, 0.02)] * 50, *[(2, 1000, 0.07)] * 50)
    assert times.token_s == pytest.approx(50e-6, rel=0.05)


def test_a_size_that_is_long_not_seen_does_not_overrule_a_larger_one() -> None:
    """Given a slow past at one stream and a fast present at eight: one stream cannot be slower than eight."""
    curve = learnt(*[(1, 0, 0.09)] * 50, *[(8, 0, 0.03)] * 200).curve(8)
    assert curve[1] <= curve[8] < 0.04


@given(st.lists(st.tuples(st.integers(1, 200), st.floats(0.001, 0.5)), max_size=60))
def test_a_curve_never_falls(steps: list[tuple[int, float]]) -> None:
    curve = learnt(*((batch, 0, seconds) for batch, seconds in steps)).curve(256)
    assert all(low <= high for low, high in pairwise(curve))


def test_what_is_usual_is_less_than_what_is_hardly_exceeded() -> None:
    times = learnt(*[(1, 0, 0.02), (1, 0, 0.04)] * 100)
    assert times.typical().curve(1)[1] == pytest.approx(0.04, rel=0.1)
    assert times.typical().curve(1)[1] < times.curve(1)[1]
    assert times.curve(1)[1] > 0.04


def test_a_size_that_was_slow_once_is_tried_again_when_smaller_ones_are_fast() -> None:
    """Given a machine that was busy while four spoke. One more at a time gets in again."""
    times = learnt(*[(1, 0, 0.060)] * 50, *[(4, 0, 0.200)] * 50)
    for size, seconds in ((1, 0.020), (2, 0.025), (3, 0.030)):
        for _ in range(300):
            times = times.with_measurement(size, 0, seconds)
    assert times.curve(4)[4] == pytest.approx(0.040, rel=0.05)


def test_a_size_that_is_still_measured_is_not_bounded_by_smaller_ones() -> None:
    times = learnt(*[(1, 0, 0.010), (4, 0, 0.090)] * 400)
    assert times.typical().curve(4)[4] == pytest.approx(0.090)


def test_a_slow_moment_before_an_idle_time_is_forgotten_with_the_first_step_after_it() -> None:
    """A start-up, a neighbour: every size was slow, and none would have been tried again for hours."""
    slow = learnt(*[(size, 0, 0.2 + 0.02 * size) for size in (1, 2, 4, 8)] * 100)
    times = slow.after_idle().with_measurement(1, 0, 0.022)
    assert times.curve(8)[1] < 0.03
    assert times.curve(8)[8] < 0.06


def test_a_fast_past_before_an_idle_time_gives_way_within_a_few_steps() -> None:
    fast = learnt(*[(size, 0, 0.01 + 0.002 * size) for size in (1, 2, 4, 8)] * 300)
    times = fast.after_idle()
    for _ in range(12):
        times = times.with_measurement(1, 0, 0.06)
    assert times.curve(8)[1] > 0.05
    assert times.curve(8)[8] > 0.1


def test_without_an_idle_time_a_hiccup_changes_no_other_size() -> None:
    times = learnt(*[(size, 0, 0.02) for size in (1, 2, 4, 8)] * 100)
    assert times.with_measurement(1, 0, 0.2).curve(8)[8] == pytest.approx(times.curve(8)[8])


def test_what_has_been_measured_again_is_scaled_no_more() -> None:
    times = learnt(*[(1, 0, 0.02), (4, 0, 0.05)] * 100).after_idle()
    for _ in range(200):
        times = times.with_measurement(4, 0, 0.05).with_measurement(1, 0, 0.04)
    assert times.typical().curve(4)[4] == pytest.approx(0.05, rel=0.02)


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0.001, 0.5)), max_size=80))
def test_however_often_it_stands_idle_a_curve_is_finite_and_never_falls(
    steps: list[tuple[int, float]],
) -> None:
    """A batch of 0 stands for an idle time."""
    times = StepTimes()
    for batch, seconds in steps:
        times = times.with_measurement(batch, 0, seconds) if batch else times.after_idle()
    curve = times.curve(32)
    assert all(0.0 <= low <= high < 1e4 for low, high in pairwise(curve))
