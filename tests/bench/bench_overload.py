"""Three times the load that the real server takes: do those inside hear holes, how soon do others hear no?

In: nothing, or flags. Out: a table on stdout. One server with the real-time rule, the tiny checkpoint. First
people come one by one until somebody is refused; then three times as many as were inside come over and over.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import httpx
from tests.bench.bench_realtime import Heard, a_server, listen

from antiphon_executor.tiny import write_tiny_checkpoint

TIMES = 3
PAUSE_S = 0.25


@dataclass
class Day:
    """What happened. `refused_s`: from a request to its refusal; `reasons`: the refusals' codes;
    `inside`: how many were heard at once, most and now.
    """

    heard: list[Heard] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    most: int = 0
    now: int = 0


async def ask(client: httpx.AsyncClient, answer_s: float, number: int, day: Day) -> float | None:
    """One answer, heard in real time; where it is refused, the seconds after which to come again."""
    began = time.monotonic()
    day.now += 1
    try:
        day.heard.append(await listen(client, answer_s, number))
    except httpx.HTTPStatusError as error:
        day.refused_s.append(time.monotonic() - began)
        day.reasons[error.response.json()["error"]["code"]] += 1
        return float(error.response.headers["retry-after"])
    else:
        day.most = max(day.most, day.now)
        return None
    finally:
        day.now -= 1


async def fill(client: httpx.AsyncClient, given: argparse.Namespace) -> int:
    """People come until one is refused; how many were inside then."""
    day = Day()
    async with asyncio.TaskGroup() as group:
        for number in range(given.slots + 1):
            group.create_task(ask(client, given.answer_s * 3, number, day))
            await asyncio.sleep(PAUSE_S)
            if day.refused_s:
                break
        return day.now


async def storm(client: httpx.AsyncClient, people: int, given: argparse.Namespace) -> Day:
    """`people` come over and over, whether they were heard or refused, for `given.seconds`."""
    day, luck = Day(), random.Random(people)
    until = time.monotonic() + given.seconds

    async def one(number: int) -> None:
        await asyncio.sleep(luck.uniform(0, given.answer_s))
        while time.monotonic() < until:
            again_s = await ask(client, given.answer_s * luck.uniform(0.6, 1.4), number, day)
            await asyncio.sleep(luck.uniform(0.5, 1.0) * min(again_s or 0.0, given.impatience_s))

    async with asyncio.TaskGroup() as group:
        for number in range(people):
            group.create_task(one(number))
    return day


def report(people: int, day: Day) -> str:
    dry = [one for one in day.heard if one.playback.underruns]
    firsts, refused = sorted(one.first_s for one in day.heard), sorted(day.refused_s)
    lines = [
        f"{people} people: {len(day.heard)} answers heard, at most {day.most} at once, {len(dry)} ran dry "
        f"({sum(one.playback.underrun_s for one in dry):.2f} s); first sound {_times(firsts)}",
    ]
    if refused:
        lines.append(f"    {len(refused)} refused ({dict(day.reasons)}), {_times(refused)}")
    return "\n".join(lines)


def _times(seconds: list[float]) -> str:
    high = seconds[round(0.99 * (len(seconds) - 1))]
    return f"{median(seconds) * 1e3:.0f} ms (median), {high * 1e3:.0f} ms (99 of 100)"


async def measure(url: str, given: argparse.Namespace) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as client:
        # Every batch size compiles its operations once, and is learnt.
        await storm(client, given.people or given.slots, given)
        inside = given.people or await fill(client, given)
        print(f"people come one by one: {inside} were inside when one was refused", flush=True)
        for people in (inside, TIMES * inside):
            print(report(people, await storm(client, people, given)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=0, help="the load that is taken; 0: found out")
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--answer-s", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each load")
    parser.add_argument("--queue-s", type=float, default=1.0, help="in line, before it is a refusal")
    parser.add_argument("--impatience-s", type=float, default=30.0, help="refused: the longest wait")
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; answers of about {given.answer_s:g} s")
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "tiny"
        write_tiny_checkpoint(checkpoint)
        rule = ("--server.limits.real-time", "--server.timeouts.queue-s", f"{given.queue_s:g}")
        with a_server(checkpoint, Path(folder), "deadline", given.slots, *rule) as url:
            asyncio.run(measure(url, given))


if __name__ == "__main__":
    main()
