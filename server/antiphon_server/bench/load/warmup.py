"""Before the measurement: detects the server's dialect and sends warm-up requests that are not recorded."""

from __future__ import annotations

import time
from collections.abc import Sequence

import httpx

from antiphon_server.bench.load.client import BenchClient
from antiphon_server.bench.load.load_generator import RequestNumbers, closed_loop
from antiphon_server.bench.load.prompts import question
from antiphon_server.bench.load.workload import Question, Request, build_request
from antiphon_server.bench.measure.dialect import AudioField
from antiphon_server.bench.measure.record import StreamRecord
from antiphon_server.bench.options import Dialect, Options
from antiphon_server.exits import ExitCode, StartupError

_ORDER: tuple[Dialect, ...] = ("openai", "dashscope", "vllm-omni")
# Statuses with which servers answer a request in a dialect that they do not support.
_UNSUPPORTED_STATUSES = (400, 404, 415, 422, 500)


async def detect_dialect(
    client: httpx.AsyncClient, options: Options, model: str
) -> tuple[Dialect, AudioField | None]:
    """The first dialect that the server accepts. Raises `StartupError` if it rejects all of them."""
    if options.workload.dialect != "auto":
        return options.workload.dialect, None
    rejected: list[StreamRecord] = []
    for dialect in sorted(_ORDER, key=lambda dialect: dialect not in options.url):
        bench = BenchClient(client, options)
        request = build_request(Question("text", question(0)), options.workload, dialect, model)
        record = await bench.send_request(0, request, time.monotonic())
        if record.outcome != "no_audio" and record.status not in _UNSUPPORTED_STATUSES:
            return dialect, bench.audio_field
        rejected.append(record)
    first = rejected[0]
    hint = "name the --dialect, a --voice, or more fields with --extra-body; --answer text needs no speech"
    raise StartupError(
        ExitCode.USAGE, f"{options.url} rejects the request: {first.status}, {first.reason}", hint
    )


async def warm_up(
    client: httpx.AsyncClient, options: Options, requests: Sequence[Request]
) -> AudioField | None:
    """Sends `options.warmup` requests and drops their records."""
    if not options.warmup:
        return None
    bench = BenchClient(client, options)

    async def send(number: int, due: float) -> StreamRecord:
        return await bench.send_request(number, requests[number % len(requests)], due)

    concurrency = max(level.concurrency or 1 for level in options.levels)
    await closed_loop(min(concurrency, options.warmup), RequestNumbers(options.warmup, None), send)
    return bench.audio_field
