"""A report of spoken conversations as plain, aligned text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from antiphon_server.bench.measure.percentiles import Distribution
from antiphon_server.bench.realtime.summary import RealtimeReport, TalkReport
from antiphon_server.bench.report.table import aligned

_MS = 1e3
_FAILURES_SHOWN = 6
_TURNS = ["at once", "said", "turns", "good", "missed ends", "early ends", "false barge-ins", "underruns"]
_TIMES = ["ms", "said", "n", "p50", "p95", "worst", "detected p50", "thinking p50", "p95", "first turn"]


def as_text(report: RealtimeReport) -> str:
    server, client, asked = report.server, report.client, report.asked
    return "\n".join(
        [
            f"{server.model} at {server.url}: conversations of {asked.turns} turns",
            f"from {client.processor}, {client.cores} cores, load {client.load_average:.1f}, {client.tool}",
            f"{report.created}  {report.command}",
            "",
            *aligned([[*_TURNS, "underrun s", "audio s", "lag p99 ms"], *map(_turns, report.levels)]),
            "",
            *aligned([[*_TIMES, "last turn"], *map(_times, report.levels)]),
            "latency: end of speech to first sound; detected: to speech_stopped; thinking: from there",
            *_failures(report),
            *_warnings(report),
        ]
    )


def _turns(level: TalkReport) -> list[str]:
    counts = (level.turns, level.good, level.missed_ends, level.early_ends, level.false_barge_ins)
    lag = f"{level.loop_lag_s.p99 * _MS:.1f}" if level.loop_lag_s else "-"
    rest = [f"{level.underrun_s:.3f}", f"{level.audio_s:.1f}", lag]
    return [level.name, level.kind, *map(str, counts), str(level.underruns), *rest]


def _times(level: TalkReport) -> list[str]:
    ends = (level.by_turn[0].latency_s, level.by_turn[-1].latency_s) if level.by_turn else (None, None)
    cells = [level.name, level.kind, str(level.latency_s.n if level.latency_s else 0)]
    cells += [_ms(level.latency_s, rank) for rank in ("p50", "p95", "worst")]
    cells += [_ms(level.detected_s, "p50"), _ms(level.thinking_s, "p50"), _ms(level.thinking_s, "p95")]
    return [*cells, *(_ms(one, "p50") for one in ends)]


def _ms(found: Distribution | None, rank: str) -> str:
    return "-" if found is None else f"{getattr(found, rank) * _MS:.0f}"


def _failures(report: RealtimeReport) -> Iterator[str]:
    for level in report.levels:
        kinds = Counter((one.outcome, one.reason) for one in level.records if not one.is_good)
        for (outcome, reason), count in kinds.most_common(_FAILURES_SHOWN):
            yield f"at {level.name}, {level.kind}: {count} x {outcome}" + (f": {reason}" if reason else "")


def _warnings(report: RealtimeReport) -> Iterator[str]:
    for level in report.levels:
        for reason in level.unreliable:
            yield f"UNRELIABLE at {level.name}, {level.kind}: {reason}: this client was too slow"
    if not report.is_complete:
        yield "stopped early: the figures cover the time until then"
