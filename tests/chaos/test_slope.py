"""What a soak counts as growth."""

from __future__ import annotations

import random

import pytest

from tests.chaos.slope import per_minute
from tests.chaos.verdict import broken
from tests.chaos.vitals import Vitals, grown


def vitals(at_s: float, **counted: int) -> Vitals:
    return Vitals(at_s, {1: 100.0}, **{"descriptors": 40, "threads": 9, "tasks": 12, **counted})


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
