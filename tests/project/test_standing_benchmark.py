"""The comparison of `make bench` with the last run: what is worse, and what is noise."""

from __future__ import annotations

import pytest

from tests.bench.standing import Figure, as_table, is_worse


@pytest.mark.parametrize(
    ("last", "now", "worse"),
    [
        (Figure(1.0, 0.02), Figure(1.04, 0.02), False),
        (Figure(1.0, 0.02), Figure(1.07, 0.02), True),
        (Figure(1.0, 0.1), Figure(1.15, 0.1), False),
        (Figure(1.0, 0.02), Figure(0.5, 0.02), False),
        (Figure(1.0, 0.02, "higher"), Figure(0.9, 0.02, "higher"), True),
        (Figure(1.0, 0.02, "higher"), Figure(1.5, 0.02, "higher"), False),
    ],
)
def test_a_figure_is_worse_only_beyond_the_noise_of_both_runs(last: Figure, now: Figure, worse: bool) -> None:
    assert is_worse(last, now) is worse


def test_the_table_names_what_got_worse_and_shows_new_figures_without_a_verdict() -> None:
    last = {"a": Figure(1.0, 0.0), "b": Figure(1.0, 0.0)}
    now = {"a": Figure(2.0, 0.0), "b": Figure(1.0, 0.0), "c": Figure(9.0, 0.0)}
    rows = as_table(now, last).splitlines()[2:]
    assert [row.endswith("| **worse** |") for row in rows] == [True, False, False]
