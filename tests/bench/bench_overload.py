"""Benchmark at three times the load that the real server admits: underruns, and the time until a rejection.

One server with the real-time limit and the tiny checkpoint. First clients arrive one by one until one is
rejected; then three times as many clients as were admitted send requests again and again.
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
from tests.bench.bench_realtime import Answer, play_answer, running_server

from antiphon_executor.tiny import write_tiny_checkpoint

TIMES = 3
PAUSE_S = 0.25


@dataclass
class Results:
    """The results of one load. `rejected_s`: from a request to its rejection; `reasons`: the error codes.

    `most`, `now`: requests served at the same time, at most and at present.
    """

    answers: list[Answer] = field(default_factory=list)
    rejected_s: list[float] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    most: int = 0
    now: int = 0


async def ask(client: httpx.AsyncClient, answer_s: float, number: int, results: Results) -> float | None:
    """Plays one answer in real time. If it is rejected: the seconds until the next attempt."""
    began = time.monotonic()
    results.now += 1
    try:
        results.answers.append(await play_answer(client, answer_s, number))
    except httpx.HTTPStatusError as error:
        results.rejected_s.append(time.monotonic() - began)
        results.reasons[error.response.json()["error"]["code"]] += 1
        return float(error.response.headers["retry-after"])
    else:
        results.most = max(results.most, results.now)
        return None
    finally:
        results.now -= 1


async def find_admitted(client: httpx.AsyncClient, given: argparse.Namespace) -> int:
    """Clients arrive until one is rejected. Returns the number of admitted clients."""
    results = Results()
    async with asyncio.TaskGroup() as group:
        for number in range(given.slots + 1):
            group.create_task(ask(client, given.answer_s * 3, number, results))
            await asyncio.sleep(PAUSE_S)
            if results.rejected_s:
                break
        return results.now


async def overload(client: httpx.AsyncClient, clients: int, given: argparse.Namespace) -> Results:
    """`clients` clients send requests again and again for `given.seconds`."""
    results, rng = Results(), random.Random(clients)
    until = time.monotonic() + given.seconds

    async def one(number: int) -> None:
        await asyncio.sleep(rng.uniform(0, given.answer_s))
        while time.monotonic() < until:
            again_s = await ask(client, given.answer_s * rng.uniform(0.6, 1.4), number, results)
            await asyncio.sleep(rng.uniform(0.5, 1.0) * min(again_s or 0.0, given.impatience_s))

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(one(number))
    return results


def report(clients: int, results: Results) -> str:
    underrun = [one for one in results.answers if one.playback.underruns]
    underrun_s = sum(one.playback.underrun_s for one in underrun)
    firsts, rejected = sorted(one.first_s for one in results.answers), sorted(results.rejected_s)
    lines = [
        f"{clients} clients: {len(results.answers)} answers, at most {results.most} at once, "
        f"{len(underrun)} with underruns ({underrun_s:.2f} s); first audio {_times(firsts)}",
    ]
    if rejected:
        lines.append(f"    {len(rejected)} rejected ({dict(results.reasons)}), {_times(rejected)}")
    return "\n".join(lines)


def _times(seconds: list[float]) -> str:
    high = seconds[round(0.99 * (len(seconds) - 1))]
    return f"{median(seconds) * 1e3:.0f} ms (median), {high * 1e3:.0f} ms (99 of 100)"


async def measure(url: str, given: argparse.Namespace) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as client:
        # Every batch size compiles its operations once, and the server measures its step time.
        await overload(client, given.clients or given.slots, given)
        admitted = given.clients or await find_admitted(client, given)
        print(f"clients arrive one by one: {admitted} were admitted when one was rejected", flush=True)
        for clients in (admitted, TIMES * admitted):
            print(report(clients, await overload(client, clients, given)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--people", type=int, dest="clients", default=0, help="the load that is admitted; 0: measure it"
    )
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--answer-s", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, default=60.0, help="seconds of each load")
    parser.add_argument("--queue-s", type=float, default=1.0, help="seconds in the queue before a rejection")
    parser.add_argument("--impatience-s", type=float, default=30.0, help="longest wait after a rejection")
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; answers of about {given.answer_s:g} s")
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "tiny"
        write_tiny_checkpoint(checkpoint)
        rule = ("--server.limits.real-time", "--server.timeouts.queue-s", f"{given.queue_s:g}")
        with running_server(checkpoint, Path(folder), "deadline", given.slots, *rule) as url:
            asyncio.run(measure(url, given))


if __name__ == "__main__":
    main()
