"""One run of `antiphon bench --realtime`: the server's facts, a warm-up, all levels, the report."""

from __future__ import annotations

import asyncio

import httpx

from antiphon_server.bench.measure.environment import describe_client, describe_server
from antiphon_server.bench.options import Options, RealtimeOptions
from antiphon_server.bench.realtime.conversation import session_of
from antiphon_server.bench.realtime.levels import measure_levels, warm_up
from antiphon_server.bench.realtime.summary import RealtimeFacts, RealtimeReport, summarise
from antiphon_server.bench.realtime.utterance import make_utterances
from antiphon_server.bench.report.report import created_now


async def measure_talks(
    client: httpx.AsyncClient, options: Options, talk: RealtimeOptions, stop: asyncio.Event
) -> RealtimeReport:
    """Measures until all levels are done or `stop` is set. Raises `StartupError` for an unusable server."""
    created, facts = created_now(), describe_client()
    server = await describe_server(client, options.url, options.workload.model)
    kinds = await asyncio.to_thread(make_utterances, options, talk)
    await warm_up(options, talk, server.model, kinds[0][0])
    measured = await measure_levels(options, talk, server.model, kinds, stop)
    return RealtimeReport(
        created=created,
        command=options.command,
        server=server,
        client=facts,
        asked=RealtimeFacts(
            session=session_of(options, talk),
            turns=talk.turns,
            end_within_s=talk.end_within_s,
            pause_s=talk.pause_s,
            timeout_s=options.timeout_s,
            start_buffer_s=options.start_buffer_s,
            seed=options.seed,
        ),
        levels=tuple(summarise(one, options.max_loop_lag_s) for one in measured),
        is_complete=not stop.is_set(),
    )
