"""The jitter of steps: a high percentile of what they take longer than usual, over a sliding window."""

from __future__ import annotations

import pytest

from antiphon_executor.scheduling.step_jitter import StepJitter


def jitter(*excesses_s: float) -> StepJitter:
    found = StepJitter()
    for excess_s in excesses_s:
        found.add(excess_s)
    return found


def test_a_percentile_is_exceeded_by_no_larger_share() -> None:
    found = jitter(*[0.0005] * 950, *[0.0205] * 40, *[0.0505] * 10)
    assert found.percentile_s(0.995) == pytest.approx(0.051)
    assert found.percentile_s(0.98) == pytest.approx(0.021)
    assert found.percentile_s(0.90) == 0.0


def test_a_few_steps_have_no_percentile() -> None:
    assert jitter(*[0.05] * 100).percentile_s(0.9) == 0.0


def test_steps_that_are_shorter_than_usual_have_no_jitter() -> None:
    assert jitter(*[-0.01] * 1_000).percentile_s(0.5) == 0.0


def test_old_steps_are_forgotten() -> None:
    found = jitter(*[0.0405] * 1_000)
    assert found.percentile_s(0.99) == pytest.approx(0.041)
    for _ in range(4_096 + 256):
        found.add(0.0)
    assert found.percentile_s(0.99) == 0.0


def test_a_very_long_step_counts_as_a_quarter_of_a_second() -> None:
    assert jitter(*[3.0] * 1_000).percentile_s(0.5) == pytest.approx(0.256)
