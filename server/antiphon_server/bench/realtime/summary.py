"""Aggregation of the turns of one level into the figures of its report, and the report of a run.

Latencies come from good turns only; all others are counted by outcome.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from antiphon_server.bench.measure.environment import ClientFacts, ServerFacts
from antiphon_server.bench.measure.machine_lag import MachineLag
from antiphon_server.bench.measure.percentiles import Distribution
from antiphon_server.bench.realtime.levels import TalkMeasurement
from antiphon_server.bench.realtime.turn_record import TurnRecord


class TurnLatency(msgspec.Struct, frozen=True, kw_only=True):
    """The latency of the turns of this number, over all conversations."""

    turn: int
    latency_s: Distribution


class TalkReport(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one level with one kind of utterance.

    `latency_s`: end of speech to first sound. `detected_s`: end of speech to `speech_stopped`. `thinking_s`:
    from there to the first sound. For `least_slack_s`, 99 % of the turns kept p99.
    """

    name: str
    kind: str
    concurrency: int
    conversations: int
    turns: int
    outcomes: dict[str, int]
    good: int
    missed_ends: int
    early_ends: int
    false_barge_ins: int
    underruns: int
    underrun_s: float
    audio_s: float
    latency_s: Distribution | None
    detected_s: Distribution | None
    thinking_s: Distribution | None
    least_slack_s: Distribution | None
    by_turn: tuple[TurnLatency, ...]
    loop_lag_s: Distribution | None
    machine: MachineLag | None
    unreliable: tuple[str, ...]
    records: tuple[TurnRecord, ...]


class RealtimeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for: the session, and the options of the run."""

    session: dict[str, object]
    turns: int
    end_within_s: float
    pause_s: float
    timeout_s: float
    start_buffer_s: float
    seed: int


class RealtimeReport(msgspec.Struct, frozen=True, kw_only=True):
    """All times are in seconds. `is_complete`: false if the run was stopped before its last level ended."""

    schema: Literal["antiphon-bench-realtime"] = "antiphon-bench-realtime"
    schema_version: int = 1
    created: str
    command: str
    server: ServerFacts
    client: ClientFacts
    asked: RealtimeFacts
    levels: tuple[TalkReport, ...]
    is_complete: bool


def summarise(measured: TalkMeasurement, max_loop_lag_s: float) -> TalkReport:
    records = measured.records
    good = [record for record in records if record.is_good]
    played = [record.playback for record in records if record.playback]
    slacks = [one.least_slack_s for one in played if one.least_slack_s is not None]
    lag = measured.lag
    slow = lag is not None and lag.p99 > max_loop_lag_s
    reasons = (f"event loop lag p99 {lag.p99 * 1e3:.0f} ms",) if lag and slow else ()
    return TalkReport(
        name=measured.level.name,
        kind=measured.kind,
        concurrency=measured.level.concurrency or 1,
        conversations=measured.conversations,
        turns=len(records),
        outcomes=dict(Counter(record.outcome for record in records)),
        good=len(good),
        missed_ends=sum(record.outcome == "missed_end" for record in records),
        early_ends=sum(record.early_ends for record in records),
        false_barge_ins=sum(record.false_barge_ins for record in records),
        underruns=sum(one.underruns for one in played),
        underrun_s=sum(one.underrun_s for one in played),
        audio_s=sum(one.heard_s for one in played),
        latency_s=_latency(good),
        detected_s=Distribution.of(r.detected_s for r in good if r.detected_s is not None),
        thinking_s=Distribution.of(r.thinking_s for r in good if r.thinking_s is not None),
        least_slack_s=Distribution.of_margins(slacks),
        by_turn=_by_turn(good),
        loop_lag_s=lag,
        machine=measured.machine,
        unreliable=reasons,
        records=tuple(records),
    )


def _latency(records: Sequence[TurnRecord]) -> Distribution | None:
    return Distribution.of(record.latency_s for record in records if record.latency_s is not None)


def _by_turn(records: Sequence[TurnRecord]) -> tuple[TurnLatency, ...]:
    found = []
    for turn in sorted({record.turn for record in records}):
        latency = _latency([record for record in records if record.turn == turn])
        if latency is not None:
            found.append(TurnLatency(turn=turn, latency_s=latency))
    return tuple(found)


def write_json(report: RealtimeReport, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
