"""The figures of a level, and when they are unreliable."""

from __future__ import annotations

import pytest

from antiphon_server.bench.measure.percentiles import Distribution
from antiphon_server.bench.measure.player import Playback
from antiphon_server.bench.measure.record import Outcome, StreamRecord
from antiphon_server.bench.options import Level, Options
from antiphon_server.bench.report.summary import LevelReport, summarise

LEVEL, OPTIONS = Level(concurrency=2), Options(url="http://h/v1", max_loop_lag_s=0.02)
CALM = Distribution.of([0.001] * 100)


def answer(
    number: int, outcome: Outcome = "ok", *, late_s: float = 0.001, holes: int = 0, ended_s: float = 2.0
) -> StreamRecord:
    return StreamRecord(
        number=number,
        input="text",
        due_s=float(number),
        sent_late_s=late_s,
        outcome=outcome,
        ttfa_s=0.5,
        ended_s=ended_s,
        rejections=int(outcome == "rejected"),
        playback=Playback(3.0, 2, holes, 0.25 * holes, 0.1) if outcome == "ok" else None,
    )


def level(
    records: list[StreamRecord], lag: Distribution | None = CALM, connect_s: float = 0.0
) -> LevelReport:
    return summarise(LEVEL, records, lag, OPTIONS, connect_s)


def test_rates_are_over_the_time_to_the_last_end() -> None:
    found = level([answer(number) for number in range(4)])
    assert found.wall_s == 5.0
    assert (found.requests_per_s, found.audio_s_per_s) == pytest.approx((0.8, 2.4))
    assert found.in_flight == pytest.approx(8.0 / 5.0)


def test_a_stream_with_an_underrun_is_good_and_not_clean() -> None:
    found = level([answer(0), answer(1, holes=2), answer(2, "rejected"), answer(3, "broken")])
    assert (found.good, found.clean, found.streams_with_underruns) == (2, 1, 1)
    assert (found.underruns, found.underrun_s, found.rejections) == (2, 0.5, 1)
    assert found.outcomes == {"ok": 2, "rejected": 1, "broken": 1}


def test_latencies_are_those_of_good_answers_alone() -> None:
    found = level([answer(0), answer(1, "timeout", ended_s=120.0)])
    assert found.latencies.e2e_s is not None
    assert (found.latencies.e2e_s.n, found.latencies.e2e_s.worst) == (1, 2.0)


def test_a_client_without_lag_is_reliable() -> None:
    assert level([answer(number) for number in range(50)]).unreliable == ()


@pytest.mark.parametrize(
    ("lags_s", "word"),
    [([0.001] * 50 + [0.03] * 50, "p99 30 ms"), ([0.001] * 500 + [0.5], "stalled for 500 ms")],
)
def test_a_lagging_client_is_unreliable(lags_s: list[float], word: str) -> None:
    (doubt,) = level([answer(0)], Distribution.of(lags_s)).unreliable
    assert word in doubt


def test_late_requests_are_unreliable_unless_connecting_takes_that_long() -> None:
    late = [answer(number, late_s=0.1) for number in range(20)]
    (doubt,) = level(late).unreliable
    assert "sent late" in doubt
    assert level(late, connect_s=0.03).unreliable == ()


def test_a_level_without_requests_has_an_empty_report() -> None:
    found = level([], None)
    assert (found.requests, found.wall_s, found.requests_per_s, found.latencies.ttfa_s) == (0, 0.0, 0.0, None)
