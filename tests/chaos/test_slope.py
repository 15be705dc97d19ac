"""What a soak counts as growth."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.chaos.slope import per_minute
from tests.chaos.verdict import broken
from tests.chaos.vitals import Vitals, grown


def vitals(at_s: float, descriptors: int = 40, threads: int = 9, tasks: int = 12) -> Vitals:
    return Vitals(at_s, {1: 100.0}, descriptors, threads, tasks)


def test_a_leak_of_a_megabyte_a_minute_is_seen_through_noise() -> None:
    dice = random.Random(1)
    at_s = [5.0 * number for number in range(180)]
    leaking = [800 + moment / 60 + dice.uniform(-3, 3) for moment in at_s]
    assert per_minute(at_s, leaking) == pytest.approx(1.0, abs=0.2)
    assert per_minute(at_s, [800 + dice.uniform(-3, 3) for _ in at_s]) == pytest.approx(0.0, abs=0.2)


def test_one_moment_has_no_slope() -> None:
    assert per_minute([3.0], [1.0]) == 0.0


def test_what_only_comes_and_goes_has_not_grown() -> None:
    seen = [vitals(number, descriptors=40 + number % 5) for number in range(40)]
    assert broken(grown(seen)) == []


def test_a_descriptor_lost_now_and_then_has() -> None:
    seen = [vitals(number, descriptors=40 + number // 4 + number % 2) for number in range(40)]
    (verdict,) = (verdict for verdict in grown(seen) if not verdict.held)
    assert verdict.promise == "descriptors do not grow"
    assert verdict.measured == "40-43 in the first quarter, 47-50 in the last"


@pytest.mark.parametrize("begins", range(25))
def test_a_pool_that_fills_late_is_no_leak(begins: int) -> None:
    """Of 1,000 connections in 25 batches, as in the siege."""
    seen = [vitals(number, threads=144 + (number >= begins)) for number in range(25)]
    assert broken(grown(seen)) == []


@pytest.mark.parametrize("phase", range(0, 250, 10))
def test_a_thread_lost_in_250_connections_is_a_leak_wherever_the_first_is(phase: int) -> None:
    seen = [vitals(number, threads=144 + (number * 40 + phase) // 250) for number in range(1, 26)]
    (verdict,) = (verdict for verdict in grown(seen) if not verdict.held)
    assert verdict.promise == "threads do not grow"


def test_a_leak_is_seen_behind_a_pool_that_fills() -> None:
    seen = [vitals(number, threads=144 + min(number, 8) + number * 40 // 250) for number in range(25)]
    assert [line for line in broken(grown(seen)) if "threads do not grow" in line]


def test_a_thread_more_is_of_a_named_process() -> None:
    names = {"server 1": 40, "talker 2": 30}
    seen = [
        replace(vitals(number, threads=70 + number), threads_of={**names, "talker 2": 30 + number})
        for number in range(8)
    ]
    (line,) = broken(grown(seen))
    assert line.endswith("70-71 in the first quarter, 76-77 in the last, which goes on: talker 2 30 to 37")
