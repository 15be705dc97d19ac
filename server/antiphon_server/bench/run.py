"""One run of `antiphon bench`, first look to last word.

In: `Options`. Out: a report on standard output, and files; an exit code. Ctrl-C ends it with what it has.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvloop

from antiphon_server.bench.asr_judge import Judge, judge_all, open_judge
from antiphon_server.bench.load.levels import Measured, measure_levels
from antiphon_server.bench.load.warmup import find_dialect, warm_up
from antiphon_server.bench.load.workload import make_questions, write_request
from antiphon_server.bench.measure.environment import ServerFacts, look_at_client, look_at_server
from antiphon_server.bench.options import Options
from antiphon_server.bench.report.plot import as_svg
from antiphon_server.bench.report.report import Report, created_now, describe_asked, write_json
from antiphon_server.bench.report.summary import LevelReport, summarise
from antiphon_server.bench.report.table import as_text
from antiphon_server.exits import ExitCode

_KEPT_ALIVE_S = 30.0


def run(options: Options) -> int:
    """0 when every level ran and something was answered."""
    judge = open_judge(options.judging)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(_until_ctrl_c(options, judge))
    print(as_text(report))  # noqa: T201
    if options.json_path:
        write_json(report, options.json_path)
    if options.plot_path:
        options.plot_path.write_text(as_svg(report), encoding="utf-8")
    if not report.is_complete:
        return ExitCode.UNFINISHED
    return ExitCode.OK if any(level.good for level in report.levels) else ExitCode.FAULT


async def measure(options: Options, stop: asyncio.Event, judge: Judge | None = None) -> Report:
    """Until it is done or `stop` is set. Raises `StartupError` where there is nothing to measure."""
    created, facts = created_now(), look_at_client()
    async with open_client(options) as client:
        server = await look_at_server(client, options.url, options.asking.model)
        questions = await asyncio.to_thread(make_questions, options.asking, options.seed)
        dialect, place = await find_dialect(client, options, server.model)
        requests = [write_request(one, options.asking, dialect, server.model) for one in questions]
        place = await warm_up(client, options, requests) or place
        measured = await measure_levels(client, options, requests, stop)
    is_complete = not stop.is_set()
    return Report(
        created=created,
        command=options.command,
        server=server,
        client=facts,
        asked=describe_asked(options, dialect, place),
        levels=tuple([await asyncio.to_thread(_sum_up, one, options, server, judge) for one in measured]),
        is_complete=is_complete,
    )


def open_client(options: Options) -> httpx.AsyncClient:
    """As many connections as there are requests; nothing is compressed, which would hold bytes back."""
    headers = {"content-type": "application/json", "accept-encoding": "identity"}
    if options.api_key:
        headers["authorization"] = f"Bearer {options.api_key}"
    limits = httpx.Limits(
        max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEPT_ALIVE_S
    )
    return httpx.AsyncClient(headers=headers, limits=limits, timeout=options.timeout_s)


async def _until_ctrl_c(options: Options, judge: Judge | None) -> Report:
    stop = asyncio.Event()
    with _ctrl_c_sets(stop):
        return await measure(options, stop, judge)


@contextmanager
def _ctrl_c_sets(stop: asyncio.Event) -> Iterator[None]:
    """The first one; a second one ends the process as it always does."""
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        stop.set()

    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _sum_up(measured: Measured, options: Options, server: ServerFacts, judge: Judge | None) -> LevelReport:
    said = measured.said[: options.judging.answers]
    errors = judge_all(judge, said) if judge else None
    connect_s = server.connect_ms / 1e3
    return summarise(measured.level, measured.records, measured.lag, options, connect_s, errors)
