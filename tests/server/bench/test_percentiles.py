"""Percentiles are measured values, and are marked if there are too few samples."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.bench.measure.percentiles import RANKS, Distribution

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300)


def test_a_hundred_values_have_the_percentiles_of_the_textbook() -> None:
    found = Distribution.of(range(1, 101))
    assert found is not None
    assert (found.n, found.mean, found.best, found.worst) == (100, 50.5, 1, 100)
    assert (found.p50, found.p90, found.p95, found.p99) == (50, 90, 95, 99)


def test_nothing_has_no_percentiles() -> None:
    assert Distribution.of([]) is None
    assert Distribution.of_margins([]) is None


def test_the_worst_margin_is_the_smallest() -> None:
    found = Distribution.of_margins(range(1, 101))
    assert found is not None
    assert (found.best, found.p50, found.p99, found.worst) == (100, 51, 2, 1)


def test_a_p99_of_fewer_than_a_hundred_is_marked_as_the_worst_sample() -> None:
    few, many = Distribution.of(range(99)), Distribution.of(range(100))
    assert few is not None
    assert many is not None
    assert (few.is_worst_sample(99), many.is_worst_sample(99)) == (True, False)
    assert not few.is_worst_sample(95)


@given(VALUES)
def test_percentiles_are_nearest_ranks(values: list[float]) -> None:
    found = Distribution.of(values)
    assert found is not None
    for rank in RANKS:
        value = getattr(found, f"p{rank}")
        assert value in values
        assert sum(other <= value for other in values) * 100 >= rank * len(values)
        assert sum(other < value for other in values) * 100 < rank * len(values)
        assert not found.is_worst_sample(rank) or value == max(values)
