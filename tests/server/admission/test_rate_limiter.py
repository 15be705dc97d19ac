"""Rate limits: what a key has used refills steadily, and the number of buckets is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.rate_limiter import RateLimiter, TokenBuckets


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_minutes_amount_may_be_used_at_once_and_refills_within_a_minute(clock: Clock) -> None:
    buckets = TokenBuckets(600, clock)
    assert buckets.wait_s("a", 600) == 0
    buckets.debit("a", 600)
    assert buckets.wait_s("a", 1) == pytest.approx(0.1)
    clock.now_s += 30
    assert buckets.remaining("a") == pytest.approx(300)
    assert buckets.full_in_s("a") == pytest.approx(30)


def test_a_negative_level_must_refill_first(clock: Clock) -> None:
    buckets = TokenBuckets(60, clock)
    buckets.debit("a", 90)
    assert buckets.remaining("a") == -30
    assert buckets.wait_s("a", 10) == pytest.approx(40)
    assert buckets.wait_s("a", 0) == 0


def test_an_amount_larger_than_the_bucket_waits_until_it_is_full(clock: Clock) -> None:
    buckets = TokenBuckets(60, clock)
    buckets.debit("a", 6)
    assert buckets.wait_s("a", 1_000) == pytest.approx(6)


def test_keys_are_independent_and_zero_is_no_limit(clock: Clock) -> None:
    buckets, free = TokenBuckets(60, clock), TokenBuckets(0, clock)
    buckets.debit("a", 60)
    assert buckets.wait_s("b", 60) == 0
    free.debit("a", 1e9)
    assert (free.wait_s("a", 1e9), len(free)) == (0, 0)


def test_full_buckets_are_dropped_and_their_number_is_bounded(clock: Clock) -> None:
    buckets = TokenBuckets(60, clock, keys=10)
    for number in range(10):
        buckets.debit(str(number), 10 + number)
    clock.now_s += 15
    buckets.debit("one more", 30)
    assert len(buckets) == 11 - 6
    assert buckets.remaining("9") == pytest.approx(60 - 19 + 15)
    for number in range(100):
        buckets.debit(f"many {number}", 50)
    assert len(buckets) == 10
    assert buckets.remaining("one more") < 60 or buckets.remaining("many 99") < 60


USES = st.lists(st.tuples(st.floats(0, 20), st.integers(0, 500)), max_size=40)


@given(USES)
def test_a_key_gets_at_most_a_full_bucket_and_what_refilled_since(
    uses: list[tuple[float, int]],
) -> None:
    clock = Clock()
    buckets, got, began = TokenBuckets(600, clock), 0, clock.now_s
    for passed_s, amount in uses:
        clock.now_s += passed_s
        if buckets.wait_s("a", amount) == 0:
            buckets.debit("a", amount)
            got += amount
        assert got <= 600 + (clock.now_s - began) * 10 + 1e-6


@given(st.integers(1, 600), st.integers(1, 600))
def test_the_amount_is_there_after_the_announced_wait_and_not_before(used: int, wanted: int) -> None:
    clock = Clock()
    buckets = TokenBuckets(600, clock)
    buckets.debit("a", used)
    wait_s = buckets.wait_s("a", wanted)
    if wait_s:
        clock.now_s += wait_s * 0.99
        assert buckets.wait_s("a", wanted) > 0
        clock.now_s += wait_s * 0.01 + 1e-9
    assert buckets.wait_s("a", wanted) == pytest.approx(0, abs=1e-6)


def test_the_limit_with_the_longer_wait_is_reported_and_the_headers_show_both(clock: Clock) -> None:
    rates = RateLimiter(
        Capacity(1, 1, 1, 1, 1, 1, tokens_per_minute=600, audio_seconds_per_minute=60.0), clock
    )
    assert rates.shortage("a", 600, 60) is None
    rates.debit("a", tokens=590, audio_s=59.5)
    shortage = rates.shortage("a", tokens=20, audio_s=5.0)
    assert shortage is not None
    assert (shortage.reason, shortage.wait_s) == ("audio_rate", pytest.approx(4.5))
    assert "60 seconds of audio per minute" in shortage.message
    assert rates.headers("a") == {
        "x-ratelimit-limit-tokens": "600",
        "x-ratelimit-remaining-tokens": "10",
        "x-ratelimit-reset-tokens": "59s",
        "x-ratelimit-limit-audio-seconds": "60",
        "x-ratelimit-remaining-audio-seconds": "0",
        "x-ratelimit-reset-audio-seconds": "59.5s",
    }
    rates.debit("a", tokens=90)
    assert rates.headers("a")["x-ratelimit-remaining-tokens"] == "0"
    assert rates.headers("a")["x-ratelimit-reset-tokens"] == "1m8s"
    assert rates.headers("b")["x-ratelimit-reset-tokens"] == "0ms"


def test_without_limits_there_are_no_headers_and_no_shortage(clock: Clock) -> None:
    rates = RateLimiter(Capacity(1, 1, 1, 1, 1, 1), clock)
    assert rates.headers("a") == {}
    assert rates.shortage("a", 1e9, 1e9) is None
