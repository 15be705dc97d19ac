"""So much a minute and key: what was used is gone, comes back steadily, and keys cost no memory for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.key_rates import KeyRates
from antiphon_server.admission.rate_limiter import RateBuckets


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_minutes_worth_may_be_used_at_once_and_comes_back_over_a_minute(clock: Clock) -> None:
    buckets = RateBuckets(600, clock)
    assert buckets.wait_s("a", 600) == 0
    buckets.take("a", 600)
    assert buckets.wait_s("a", 1) == pytest.approx(0.1)
    clock.now_s += 30
    assert buckets.left("a") == pytest.approx(300)
    assert buckets.full_in_s("a") == pytest.approx(30)


def test_more_was_used_than_there_was_and_that_is_waited_for_too(clock: Clock) -> None:
    buckets = RateBuckets(60, clock)
    buckets.take("a", 90)
    assert buckets.left("a") == -30
    assert buckets.wait_s("a", 10) == pytest.approx(40)
    assert buckets.wait_s("a", 0) == 0


def test_who_wants_more_than_a_bucket_holds_waits_until_it_is_full(clock: Clock) -> None:
    buckets = RateBuckets(60, clock)
    buckets.take("a", 6)
    assert buckets.wait_s("a", 1_000) == pytest.approx(6)


def test_keys_have_nothing_to_do_with_each_other_and_no_limit_is_no_limit(clock: Clock) -> None:
    buckets, free = RateBuckets(60, clock), RateBuckets(0, clock)
    buckets.take("a", 60)
    assert buckets.wait_s("b", 60) == 0
    free.take("a", 1e9)
    assert (free.wait_s("a", 1e9), len(free)) == (0, 0)


def test_full_buckets_are_forgotten_and_there_are_never_too_many(clock: Clock) -> None:
    buckets = RateBuckets(60, clock, keys=10)
    for number in range(10):
        buckets.take(str(number), 10 + number)
    clock.now_s += 15
    buckets.take("one more", 30)
    assert len(buckets) == 11 - 6
    assert buckets.left("9") == pytest.approx(60 - 19 + 15)
    for number in range(100):
        buckets.take(f"many {number}", 50)
    assert len(buckets) == 10
    assert buckets.left("one more") < 60 or buckets.left("many 99") < 60


USES = st.lists(st.tuples(st.floats(0, 20), st.integers(0, 500)), max_size=40)


@given(USES)
def test_nobody_gets_more_than_a_bucket_and_what_flowed_into_it_since(
    uses: list[tuple[float, int]],
) -> None:
    clock = Clock()
    buckets, got, began = RateBuckets(600, clock), 0, clock.now_s
    for passed_s, amount in uses:
        clock.now_s += passed_s
        if buckets.wait_s("a", amount) == 0:
            buckets.take("a", amount)
            got += amount
        assert got <= 600 + (clock.now_s - began) * 10 + 1e-6


@given(st.integers(1, 600), st.integers(1, 600))
def test_after_the_time_that_it_says_there_is_enough_and_not_before(used: int, wanted: int) -> None:
    clock = Clock()
    buckets = RateBuckets(600, clock)
    buckets.take("a", used)
    wait_s = buckets.wait_s("a", wanted)
    if wait_s:
        clock.now_s += wait_s * 0.99
        assert buckets.wait_s("a", wanted) > 0
        clock.now_s += wait_s * 0.01 + 1e-9
    assert buckets.wait_s("a", wanted) == pytest.approx(0, abs=1e-6)


def test_a_key_is_told_what_it_is_short_of_and_how_things_stand(clock: Clock) -> None:
    rates = KeyRates(Capacity(1, 1, 1, 1, 1, 1, tokens_per_minute=600, audio_seconds_per_minute=60.0), clock)
    assert rates.short("a", 600, 60) is None
    rates.take("a", tokens=590, audio_s=59.5)
    short = rates.short("a", tokens=20, audio_s=5.0)
    assert short is not None
    assert (short.reason, short.wait_s) == ("audio_rate", pytest.approx(4.5))
    assert "60 seconds of sound a minute" in short.message
    assert rates.headers("a") == {
        "x-ratelimit-limit-tokens": "600",
        "x-ratelimit-remaining-tokens": "10",
        "x-ratelimit-reset-tokens": "59s",
        "x-ratelimit-limit-audio-seconds": "60",
        "x-ratelimit-remaining-audio-seconds": "0",
        "x-ratelimit-reset-audio-seconds": "59.5s",
    }
    rates.take("a", tokens=90)
    assert rates.headers("a")["x-ratelimit-remaining-tokens"] == "0"
    assert rates.headers("a")["x-ratelimit-reset-tokens"] == "1m8s"
    assert rates.headers("b")["x-ratelimit-reset-tokens"] == "0ms"


def test_where_nothing_is_limited_nothing_is_said(clock: Clock) -> None:
    rates = KeyRates(Capacity(1, 1, 1, 1, 1, 1), clock)
    assert rates.headers("a") == {}
    assert rates.short("a", 1e9, 1e9) is None
