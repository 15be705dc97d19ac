"""One run of `antiphon bench`: measures all levels, prints the report, writes its files.

Ctrl-C stops the run and reports what was measured until then.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvloop

from antiphon_server.bench.asr_judge import Judge, measure_word_errors, open_judge
from antiphon_server.bench.load.levels import LevelMeasurement, measure_levels
from antiphon_server.bench.load.warmup import detect_dialect, warm_up
from antiphon_server.bench.load.workload import build_request, make_questions
from antiphon_server.bench.measure.environment import ServerFacts, describe_client, describe_server
from antiphon_server.bench.options import Options, RealtimeOptions
from antiphon_server.bench.realtime import summary
from antiphon_server.bench.realtime import table as talk_table
from antiphon_server.bench.realtime.run import measure_talks
from antiphon_server.bench.report.plot import as_svg
from antiphon_server.bench.report.report import Report, created_now, describe_request, write_json
from antiphon_server.bench.report.summary import LevelReport, summarise
from antiphon_server.bench.report.table import as_text
from antiphon_server.exits import ExitCode

_KEEP_ALIVE_S = 30.0


def run(options: Options) -> int:
    """The exit code: 0 if every level ran to its end and at least one request was answered."""
    if options.realtime:
        return _run_talks(options, options.realtime)
    judge = open_judge(options.judge)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(_measure_until_ctrl_c(options, judge))
    print(as_text(report))  # noqa: T201
    if options.json_path:
        write_json(report, options.json_path)
    if options.plot_path:
        options.plot_path.write_text(as_svg(report), encoding="utf-8")
    if not report.is_complete:
        return ExitCode.UNFINISHED
    return ExitCode.OK if any(level.good for level in report.levels) else ExitCode.FAULT


def _run_talks(options: Options, talk: RealtimeOptions) -> int:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(_measure_talks(options, talk))
    print(talk_table.as_text(report))  # noqa: T201
    if options.json_path:
        summary.write_json(report, options.json_path)
    if not report.is_complete:
        return ExitCode.UNFINISHED
    return ExitCode.OK if any(level.good for level in report.levels) else ExitCode.FAULT


async def _measure_talks(options: Options, talk: RealtimeOptions) -> summary.RealtimeReport:
    stop = asyncio.Event()
    with _stop_on_ctrl_c(stop):
        async with open_client(options) as client:
            return await measure_talks(client, options, talk, stop)


async def measure(options: Options, stop: asyncio.Event, judge: Judge | None = None) -> Report:
    """Measures until all levels are done or `stop` is set. Raises `StartupError` for an unusable server."""
    created, facts = created_now(), describe_client()
    async with open_client(options) as client:
        server = await describe_server(client, options.url, options.workload.model)
        questions = await asyncio.to_thread(make_questions, options.workload, options.seed)
        dialect, audio_field = await detect_dialect(client, options, server.model)
        requests = [build_request(one, options.workload, dialect, server.model) for one in questions]
        audio_field = await warm_up(client, options, requests) or audio_field
        measured = await measure_levels(client, options, requests, stop)
    is_complete = not stop.is_set()
    return Report(
        created=created,
        command=options.command,
        server=server,
        client=facts,
        asked=describe_request(options, dialect, audio_field),
        levels=tuple(
            [await asyncio.to_thread(_level_report, one, options, server, judge) for one in measured]
        ),
        is_complete=is_complete,
    )


def open_client(options: Options) -> httpx.AsyncClient:
    """An HTTP client without a connection limit. It refuses compression, which would delay bytes."""
    headers = {"content-type": "application/json", "accept-encoding": "identity"}
    if options.api_key:
        headers["authorization"] = f"Bearer {options.api_key}"
    limits = httpx.Limits(
        max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEEP_ALIVE_S
    )
    return httpx.AsyncClient(headers=headers, limits=limits, timeout=options.timeout_s)


async def _measure_until_ctrl_c(options: Options, judge: Judge | None) -> Report:
    stop = asyncio.Event()
    with _stop_on_ctrl_c(stop):
        return await measure(options, stop, judge)


@contextmanager
def _stop_on_ctrl_c(stop: asyncio.Event) -> Iterator[None]:
    """The first Ctrl-C sets `stop`; the second one ends the process as usual."""
    loop = asyncio.get_running_loop()

    def on_interrupt() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        stop.set()

    loop.add_signal_handler(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _level_report(
    measured: LevelMeasurement, options: Options, server: ServerFacts, judge: Judge | None
) -> LevelReport:
    answers = measured.answers[: options.judge.answers]
    errors = measure_word_errors(judge, answers) if judge else None
    connect_s = server.connect_ms / 1e3
    return summarise(
        measured.level,
        measured.records,
        measured.lag,
        options,
        connect_s,
        errors,
        loop_stalls=measured.lag_stalls,
        machine=measured.machine,
    )
