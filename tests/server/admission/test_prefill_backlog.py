"""The prefill backlog: how long reading the waiting prompts takes."""

from __future__ import annotations

import pytest

from antiphon_server.admission.estimators import PrefillBacklog


def reading(rate: float, tokens: int) -> PrefillBacklog:
    """A backlog of `tokens`, read at `rate` tokens per second."""
    backlog = PrefillBacklog()
    backlog.observe(0.0, 1.0, int(rate))
    backlog.change("before", 0, tokens)
    return backlog


def test_before_the_rate_is_measured_only_the_number_of_tokens_is_bounded() -> None:
    backlog = PrefillBacklog()
    backlog.change("before", 0, 10_000)
    assert backlog.excess_s(10_000, limit_s=1.0, limit_tokens=0) == 0.0
    assert backlog.excess_s(10_000, limit_s=1.0, limit_tokens=15_000) is None


def test_a_short_prompt_waits_for_a_share_of_a_long_one() -> None:
    backlog = reading(rate=1_000, tokens=250_000)
    assert backlog.excess_s(100, limit_s=8.0, limit_tokens=0) == 0.0
    assert backlog.excess_s(3_000, limit_s=8.0, limit_tokens=0) == 0.0
    assert backlog.excess_s(5_000, limit_s=8.0, limit_tokens=0) == pytest.approx(2.0)
    assert backlog.excess_s(250_000, limit_s=8.0, limit_tokens=0) == pytest.approx(250.0)


def test_short_prompts_wait_for_each_other_in_full() -> None:
    backlog = reading(rate=1_000, tokens=250_000)
    for number in range(5):
        backlog.change(number, 0, 1_500)
    assert backlog.tokens_before(100) == 2_048 + 7_500


def test_what_is_read_of_a_prompt_is_not_waited_for() -> None:
    backlog = reading(rate=1_000, tokens=250_000)
    backlog.change("before", 250_000, 9_000)
    assert backlog.tokens == backlog.tokens_before(250_000) == 9_000
    backlog.change("before", 9_000, 3_000)
    assert backlog.tokens_before(10) == 3_000
    backlog.change("before", 3_000, 0)
    assert backlog.tokens_before(10) == 0


def test_the_wait_is_the_time_until_enough_of_the_backlog_is_read() -> None:
    backlog = reading(rate=1_000, tokens=5_000)
    assert backlog.excess_s(3_000, limit_s=8.0, limit_tokens=0) == 0.0
    assert backlog.excess_s(4_000, limit_s=8.0, limit_tokens=0) == pytest.approx(1.0)
    assert backlog.excess_s(4_000, limit_s=8.0, limit_tokens=6_000) == pytest.approx(3.0)


def test_a_prompt_longer_than_the_limit_waits_until_it_is_alone() -> None:
    backlog = reading(rate=1_000, tokens=5_000)
    assert backlog.excess_s(100_000, limit_s=8.0, limit_tokens=0) == pytest.approx(5.0)
    backlog.change("before", 5_000, 0)
    assert backlog.excess_s(100_000, limit_s=8.0, limit_tokens=0) == 0.0


def test_prompts_read_one_after_the_other_are_not_timed_twice() -> None:
    """Both started at once; the second was read when the first was."""
    backlog = PrefillBacklog()
    backlog.observe(0.0, 2.0, 2_000)
    backlog.observe(0.0, 4.0, 2_000)
    assert backlog.rate == pytest.approx(1_000)


def test_short_and_cached_prompts_do_not_change_the_rate() -> None:
    backlog = reading(rate=1_000, tokens=0)
    backlog.observe(10.0, 11.0, 20)
    assert backlog.rate == 1_000
