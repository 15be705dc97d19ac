"""Aggregation of the records of one level into the figures of its report.

Latencies come from good answers only; all other requests are counted by outcome.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from antiphon_server.bench.measure.cost import Cost, machine_cost, token_cost
from antiphon_server.bench.measure.machine_lag import MachineLag
from antiphon_server.bench.measure.percentiles import Distribution
from antiphon_server.bench.measure.record import StreamRecord
from antiphon_server.bench.measure.word_errors import WordErrors
from antiphon_server.bench.options import Level, Options

# One stall of this many times the lag limit makes a level unreliable even if its p99 is within the limit.
_STALL = 10
# Round trips of a new connection (TCP and TLS) before the request can be sent.
_ROUND_TRIPS = 4


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """In seconds; `rtf` and `speech_rtf` are ratios. For `least_slack_s`, 99 % of the streams kept p99."""

    ttft_s: Distribution | None
    ttfa_s: Distribution | None
    e2e_s: Distribution | None
    rtf: Distribution | None
    speech_rtf: Distribution | None
    least_slack_s: Distribution | None


class LevelReport(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one level. `wall_s`: from its start to the end of its last request.

    `rejections`: responses with status 429, including retried ones. `in_flight`: mean number of open
    requests. `loop_stalls`: lags of this process's event loop above 20 ms.
    """

    name: str
    concurrency: int | None
    rate_hz: float | None
    wall_s: float
    requests: int
    outcomes: dict[str, int]
    good: int
    clean: int
    rejections: int
    in_flight: float
    underruns: int
    underrun_s: float
    streams_with_underruns: int
    audio_s: float
    requests_per_s: float
    audio_s_per_s: float
    text_tokens: int
    latencies: Latencies
    sent_late_s: Distribution | None
    loop_lag_s: Distribution | None
    unreliable: tuple[str, ...]
    machine_cost: Cost | None
    token_cost: Cost | None
    word_errors: WordErrors | None
    streams: tuple[StreamRecord, ...]
    loop_stalls: int = 0
    machine: MachineLag | None = None


def summarise(
    level: Level,
    records: Sequence[StreamRecord],
    lag: Distribution | None,
    options: Options,
    connect_s: float = 0.0,
    word_errors: WordErrors | None = None,
    *,
    loop_stalls: int = 0,
    machine: MachineLag | None = None,
) -> LevelReport:
    """`connect_s`: the time to open a TCP connection."""
    good = [record for record in records if record.is_good]
    playbacks = [record.playback for record in records if record.playback]
    wall_s = max((record.due_s + (record.ended_s or 0.0) for record in records), default=0.0)
    busy_s = sum(record.ended_s or 0.0 for record in records)
    audio_s = sum(playback.heard_s for playback in playbacks)
    late = Distribution.of(r.sent_late_s for r in records if r.sent_late_s is not None)
    return LevelReport(
        name=level.name,
        concurrency=level.concurrency,
        rate_hz=level.rate_hz,
        wall_s=wall_s,
        requests=len(records),
        outcomes=dict(Counter(record.outcome for record in records)),
        good=len(good),
        clean=sum(record.is_clean for record in records),
        rejections=sum(record.rejections for record in records),
        in_flight=_per(busy_s, wall_s),
        underruns=sum(playback.underruns for playback in playbacks),
        underrun_s=sum(playback.underrun_s for playback in playbacks),
        streams_with_underruns=sum(playback.underruns > 0 for playback in playbacks),
        audio_s=audio_s,
        requests_per_s=_per(len(good), wall_s),
        audio_s_per_s=_per(audio_s, wall_s),
        text_tokens=sum(record.usage.text_tokens for record in good if record.usage),
        latencies=_latencies(good),
        sent_late_s=late,
        loop_lag_s=lag,
        unreliable=_unreliable_reasons(lag, late, options.max_loop_lag_s, _ROUND_TRIPS * connect_s),
        machine_cost=machine_cost(options.prices, records, wall_s),
        token_cost=token_cost(options.prices, records),
        word_errors=word_errors,
        streams=tuple(sorted(records, key=lambda record: record.number)),
        loop_stalls=loop_stalls,
        machine=machine,
    )


def _latencies(good: Sequence[StreamRecord]) -> Latencies:
    slacks = [record.playback.least_slack_s for record in good if record.playback]
    return Latencies(
        ttft_s=Distribution.of(record.ttft_s for record in good if record.ttft_s is not None),
        ttfa_s=Distribution.of(record.ttfa_s for record in good if record.ttfa_s is not None),
        e2e_s=Distribution.of(r.ended_s for r in good if r.outcome == "ok" and r.ended_s is not None),
        rtf=Distribution.of(record.rtf for record in good if record.rtf is not None),
        speech_rtf=Distribution.of(r.speech_rtf for r in good if r.speech_rtf is not None),
        least_slack_s=Distribution.of_margins(slack for slack in slacks if slack is not None),
    )


def _unreliable_reasons(
    lag: Distribution | None, late: Distribution | None, limit_s: float, connect_s: float
) -> tuple[str, ...]:
    """Reasons why this client, not the server, may have caused the figures."""
    reasons = []
    if lag and lag.p99 > limit_s:
        reasons.append(f"event loop lag p99 {lag.p99 * 1e3:.0f} ms, limit {limit_s * 1e3:.0f} ms")
    elif lag and lag.worst > _STALL * limit_s:
        reasons.append(f"the event loop stalled for {lag.worst * 1e3:.0f} ms")
    if late and late.p90 > limit_s + connect_s:
        reasons.append(f"requests were sent late, p50 {late.p50 * 1e3:.0f} ms, p90 {late.p90 * 1e3:.0f} ms")
    return tuple(reasons)


def _per(amount: float, seconds: float) -> float:
    return amount / seconds if seconds > 0 else 0.0
