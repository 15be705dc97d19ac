"""Before the measuring: in which dialect the server takes requests, and a few that nobody counts.

In: a client and questions. Out: the dialect, and where the sound of its answers stands.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import httpx

from antiphon_server.bench.load.client import Listener
from antiphon_server.bench.load.load_generator import Supply, closed_loop
from antiphon_server.bench.load.prompts import question
from antiphon_server.bench.load.workload import Question, Request, write_request
from antiphon_server.bench.measure.dialect import Place
from antiphon_server.bench.measure.record import StreamRecord
from antiphon_server.bench.options import Dialect, Options
from antiphon_server.exits import ExitCode, StartupError

_ORDER: tuple[Dialect, ...] = ("openai", "dashscope", "vllm-omni")
# What a server answers to a request that it does not understand.
_NOT_UNDERSTOOD = (400, 404, 415, 422, 500)


async def find_dialect(
    client: httpx.AsyncClient, options: Options, model: str
) -> tuple[Dialect, Place | None]:
    """The first dialect that is answered; raises `StartupError` where each is refused as not understood."""
    if options.asking.dialect != "auto":
        return options.asking.dialect, None
    refusals: list[StreamRecord] = []
    for dialect in sorted(_ORDER, key=lambda dialect: dialect not in options.url):
        listener = Listener(client, options)
        request = write_request(Question("text", question(0)), options.asking, dialect, model)
        record = await listener.ask(0, request, time.monotonic())
        if record.outcome != "no_audio" and record.status not in _NOT_UNDERSTOOD:
            return dialect, listener.place
        refusals.append(record)
    told = refusals[0]
    hint = "name the --dialect, a --voice, or more fields with --extra-body; --answer text asks for no speech"
    raise StartupError(
        ExitCode.USAGE, f"{options.url} refuses the request: {told.status}, {told.reason}", hint
    )


async def warm_up(client: httpx.AsyncClient, options: Options, requests: Sequence[Request]) -> Place | None:
    """`options.warmup` requests; their records are dropped."""
    if not options.warmup:
        return None
    listener = Listener(client, options)

    async def ask(number: int, due: float) -> StreamRecord:
        return await listener.ask(number, requests[number % len(requests)], due)

    most = max(level.concurrency or 1 for level in options.levels)
    await closed_loop(min(most, options.warmup), Supply(options.warmup, None), ask)
    return listener.place
