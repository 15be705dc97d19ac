"""A report as plain, aligned text: the same on a terminal and in a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from antiphon_server.bench.measure.percentiles import RANKS, Distribution
from antiphon_server.bench.report.report import Report
from antiphon_server.bench.report.summary import LevelReport

_FAILURES_SHOWN = 8
_IDS_SHOWN = 3
_MS = 1e3
# Name, field of `Latencies`, unit, digits.
_ROWS = (
    ("TTFT ms", "ttft_s", _MS, 1),
    ("TTFA ms", "ttfa_s", _MS, 1),
    ("E2E ms", "e2e_s", _MS, 1),
    ("RTF", "rtf", 1.0, 3),
    ("speech RTF", "speech_rtf", 1.0, 3),
    ("slack ms", "least_slack_s", _MS, 1),
)


def as_text(report: Report) -> str:
    lines = [*_head(report), "", *_levels(report.levels), "", *_latencies(report.levels)]
    levels = report.levels
    for section in (
        _lags(levels),
        _costs(levels),
        _word_errors(levels),
        _failures(levels),
        _warnings(report),
    ):
        found = list(section)
        lines += ["", *found] if found else []
    return "\n".join(lines)


def _head(report: Report) -> Iterator[str]:
    server, client, asked = report.server, report.client, report.asked
    names = [server.owned_by, server.server_header, server.version and f"version {server.version}"]
    facts = ", ".join(name for name in names if name) or "reports no name or version"
    yield f"{server.model} at {server.url} ({facts}; connects in {server.connect_ms:.2f} ms)"
    found = f", audio in {asked.sound_in}" if asked.sound_in else ""
    yield f"requested: {asked.answer} from {asked.inputs}; dialect {asked.dialect}{found}"
    yield (
        f"from {client.processor}, {client.cores} cores, load {client.load_average:.1f}, {client.system}, "
        f"Python {client.python}, {client.tool}"
    )
    yield f"{report.created}  {report.command}"


def _levels(levels: Iterable[LevelReport]) -> list[str]:
    head = ["load", "sent", "good", "clean", "429", "failed", "in flight", "underruns", "underrun s"]
    rows = [[*head, "audio s", "audio s/s", "req/s", "lag p99 ms"]]
    for level in levels:
        lag = level.loop_lag_s
        failed = level.requests - level.good - level.outcomes.get("rejected", 0)
        rows.append([
            level.name, str(level.requests), str(level.good), str(level.clean), str(level.rejections),
            str(failed), f"{level.in_flight:.1f}", str(level.underruns), f"{level.underrun_s:.3f}",
            f"{level.audio_s:.1f}", f"{level.audio_s_per_s:.2f}", f"{level.requests_per_s:.2f}",
            f"{lag.p99 * _MS:.1f}" if lag else "-",
        ])  # fmt: skip
    return aligned(rows)


def _latencies(levels: Iterable[LevelReport]) -> list[str]:
    rows = [["", "load", "n", *(f"p{rank}" for rank in RANKS), "worst"]]
    has_few_samples = False
    for name, field, unit, digits in _ROWS:
        for level in levels:
            found: Distribution | None = getattr(level.latencies, field)
            if found is None:
                continue
            cells = [name, level.name, str(found.n)]
            for rank in RANKS:
                mark = "^" if found.is_worst_sample(rank) else " "
                has_few_samples = has_few_samples or mark == "^"
                cells.append(f"{getattr(found, f'p{rank}') * unit:.{digits}f}{mark}")
            rows.append([*cells, f"{found.worst * unit:.{digits}f}"])
    notes = ["slack: the least audio left to play when a packet arrived; 99 % of the streams kept p99"]
    if has_few_samples:
        notes.append("^ too few samples: this percentile is the worst sample")
    return [*aligned(rows), *notes] if len(rows) > 1 else ["no good answer, so no latency"]


def _lags(levels: Iterable[LevelReport]) -> Iterator[str]:
    rows = [["lag, ms", "load", "p50", "p99", "worst", "above 20 ms"]]
    notes = []
    for level in levels:
        own, machine = level.loop_lag_s, level.machine
        if own is not None:
            rows.append(["this client's event loop", level.name, *_lag_cells(own), str(level.loop_stalls)])
        if machine is None:
            continue
        rows.append(["bare timer", level.name, *_lag_cells(machine.lag_s), str(machine.stalls)])
        if machine.stolen_s is not None:
            notes.append(f"at {level.name}: other guests took {machine.stolen_s:.2f} CPU s of this machine")
        if level.underruns:
            share = f"{machine.underruns_in_stalls} of {level.underruns}"
            notes.append(f"at {level.name}: {share} underruns are no longer than a stall of the bare timer")
    yield from [*aligned(rows), *notes] if len(rows) > 1 else []


def _lag_cells(lag: Distribution) -> list[str]:
    return [f"{seconds * _MS:.1f}" for seconds in (lag.p50, lag.p99, lag.worst)]


def _costs(levels: Iterable[LevelReport]) -> Iterator[str]:
    for level in levels:
        for name, cost in (("machine", level.machine_cost), ("tokens", level.token_cost)):
            if cost is not None:
                per_request, per_hour = _money(cost.per_1000_requests), _money(cost.per_hour_of_speech)
                yield (
                    f"cost at {level.name} by {name}: {per_request} per 1,000 requests, "
                    f"{per_hour} per hour of speech"
                )


def _money(amount: float | None) -> str:
    return "-" if amount is None else f"{amount:.4g}"


def _word_errors(levels: Iterable[LevelReport]) -> Iterator[str]:
    for level in levels:
        found = level.word_errors
        if found is not None and found.rate is not None:
            yield (
                f"word error rate at {level.name}: {found.rate:.1%} "
                f"({found.errors} of {found.words} words, {found.answers} answers, {found.failed} failed)"
            )
        elif found is not None:
            yield f"word error rate at {level.name}: none of {found.failed} answers could be transcribed"


def _failures(levels: Iterable[LevelReport]) -> Iterator[str]:
    for level in levels:
        bad = [record for record in level.streams if not record.is_good]
        kinds = Counter((record.outcome, record.status, record.reason) for record in bad)
        for (outcome, status, reason), count in kinds.most_common(_FAILURES_SHOWN):
            ids = [r.request_id for r in bad if (r.outcome, r.status, r.reason) == (outcome, status, reason)]
            named = ", ".join([name for name in ids if name][:_IDS_SHOWN])
            line = f"at {level.name}: {count} x {outcome}"
            line += f" ({status})" if status not in (None, 200) else ""
            line += f": {reason}" if reason else ""
            yield line + (f"  [{named}]" if named else "")
        if len(kinds) > _FAILURES_SHOWN:
            yield f"at {level.name}: and {len(kinds) - _FAILURES_SHOWN} more kinds of failure"


def _warnings(report: Report) -> Iterator[str]:
    for level in report.levels:
        for reason in level.unreliable:
            yield f"UNRELIABLE at {level.name}: {reason}: this client was too slow for this measurement"
    if not report.is_complete:
        yield "stopped early: the figures cover the time until then"


def aligned(rows: list[list[str]]) -> list[str]:
    """Columns of equal width: the first is left-aligned, the others are right-aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
