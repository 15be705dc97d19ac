"""How long the prompts that are not read yet will take."""

from __future__ import annotations

import pytest

from antiphon_server.admission.prefill_meter import PrefillMeter


def reading(rate: float, tokens: int) -> PrefillMeter:
    """One that has read at `rate`, and has `tokens` before it."""
    meter = PrefillMeter()
    meter.measured(0.0, 1.0, int(rate))
    meter.add(tokens)
    return meter


def test_as_long_as_nothing_was_measured_only_the_number_counts() -> None:
    meter = PrefillMeter()
    meter.add(10_000)
    assert meter.over_s(10_000, limit_s=1.0, limit_tokens=0) == 0.0
    assert meter.over_s(10_000, limit_s=1.0, limit_tokens=15_000) is None


def test_more_than_can_be_read_in_time_must_wait_until_enough_of_it_is_read() -> None:
    meter = reading(rate=1_000, tokens=5_000)
    assert meter.over_s(3_000, limit_s=8.0, limit_tokens=0) == 0.0
    assert meter.over_s(4_000, limit_s=8.0, limit_tokens=0) == pytest.approx(1.0)
    assert meter.over_s(4_000, limit_s=8.0, limit_tokens=6_000) == pytest.approx(3.0)


def test_a_prompt_that_is_too_long_for_any_promise_waits_until_it_is_alone() -> None:
    meter = reading(rate=1_000, tokens=5_000)
    assert meter.over_s(100_000, limit_s=8.0, limit_tokens=0) == pytest.approx(5.0)
    meter.remove(5_000)
    assert meter.over_s(100_000, limit_s=8.0, limit_tokens=0) == 0.0


def test_prompts_that_are_read_one_after_the_other_are_not_timed_twice() -> None:
    """Both started at once; the second was read when the first was."""
    meter = PrefillMeter()
    meter.measured(0.0, 2.0, 2_000)
    meter.measured(0.0, 4.0, 2_000)
    assert meter.rate == pytest.approx(1_000)


def test_short_prompts_and_cached_ones_say_nothing_of_the_rate() -> None:
    meter = reading(rate=1_000, tokens=0)
    meter.measured(10.0, 11.0, 20)
    assert meter.rate == 1_000
