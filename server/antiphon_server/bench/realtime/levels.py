"""Runner of the levels of a realtime benchmark: for each number of conversations, each kind of utterance."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from antiphon_server.bench.measure.machine_lag import MachineLag
from antiphon_server.bench.measure.percentiles import Distribution
from antiphon_server.bench.measure.probed_work import run_probed
from antiphon_server.bench.options import Level, Options, RealtimeOptions
from antiphon_server.bench.realtime.conversation import Conversation
from antiphon_server.bench.realtime.turn_record import TurnRecord
from antiphon_server.bench.realtime.utterance import RATE_HZ, Utterance
from antiphon_server.exits import ExitCode, StartupError


@dataclass(frozen=True, slots=True)
class TalkMeasurement:
    """The raw measurement of one level with one kind of utterance. `lag`: of this process's event loop, s."""

    level: Level
    kind: str
    conversations: int
    records: Sequence[TurnRecord]
    lag: Distribution | None
    machine: MachineLag | None


async def warm_up(options: Options, talk: RealtimeOptions, model: str, utterance: Utterance) -> None:
    """Turns that are not measured. Raises StartupError if there is no connection."""
    warm = Conversation(0, [utterance] * options.warmup, options, talk, model)
    await warm.run()
    if warm.records and warm.records[0].outcome == "no_connection":
        raise StartupError(ExitCode.FAULT, f"no realtime connection: {warm.records[0].reason}")


async def measure_levels(
    options: Options,
    talk: RealtimeOptions,
    model: str,
    kinds: Sequence[Sequence[Utterance]],
    stop: asyncio.Event,
) -> list[TalkMeasurement]:
    """Runs until all levels are done or `stop` is set; a stopped level is measured too."""
    done: list[TalkMeasurement] = []
    for level in options.levels:
        for utterances in kinds:
            if stop.is_set():
                return done
            print(f"measuring at {level.name}, {utterances[0].kind}", file=sys.stderr, flush=True)  # noqa: T201
            talks = _talks(options, talk, model, level, utterances)
            done.append(await _measure(level, talks, utterances, options.seed, stop))
    return done


def _talks(
    options: Options, talk: RealtimeOptions, model: str, level: Level, utterances: Sequence[Utterance]
) -> list[Conversation]:
    scripts = [
        [utterances[(number + turn) % len(utterances)] for turn in range(talk.turns)]
        for number in range(options.requests or level.concurrency or 1)
    ]
    return [Conversation(number, script, options, talk, model) for number, script in enumerate(scripts)]


async def _measure(
    level: Level, talks: list[Conversation], utterances: Sequence[Utterance], seed: int, stop: asyncio.Event
) -> TalkMeasurement:
    waiting, dice = list(reversed(talks)), random.Random(seed)
    # Conversations do not begin together, as their turns would then end together.
    apart_s = max(len(one.samples) for one in utterances) / RATE_HZ

    async def user(starts_s: float) -> None:
        await asyncio.sleep(starts_s)
        while waiting:
            await waiting.pop().run()

    async def users() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(level.concurrency or 1):
                group.create_task(user(dice.uniform(0, apart_s)))

    probes = await run_probed(users(), stop)
    records = [record for talk in talks for record in talk.records]
    return TalkMeasurement(
        level, utterances[0].kind, len(talks), records, probes.loop.lag(), probes.machine.summary(())
    )
