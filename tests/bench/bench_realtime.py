"""Benchmark: how many clients the real server serves without an underrun, with deadline and FIFO scheduling.

One server per schedule with the tiny checkpoint. Each client asks, listens to the end in real time, and asks
again. The schedules take turns, because other load on the machine changes over time.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import httpx
from tests.e2e.server_process import MODEL, start_server

from antiphon_executor.tiny import write_tiny_checkpoint
from antiphon_server.bench.load.event_stream import timed_events
from antiphon_server.bench.measure.player import Playback, Player

BYTES_PER_SECOND = 48_000
SCHEDULES = ("fifo", "deadline")


@dataclass(frozen=True)
class Answer:
    """One answer. `first_s`: from the request to its first audio."""

    first_s: float
    events: int
    playback: Playback


def body(answer_s: float, number: int) -> dict[str, object]:
    """A greedy request, in which random weights never end the answer; `max_tokens` limits its length."""
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": f"Tell me story number {number}, a long one."}],
        "modalities": ["text", "audio"],
        "audio": {"voice": "ethan", "format": "pcm16"},
        "stream": True,
        "temperature": 0,
        "talker_temperature": 0,
        "max_tokens": round(answer_s * 12.5),
    }


async def play_answer(client: httpx.AsyncClient, answer_s: float, number: int) -> Answer:
    """Plays one answer to its end or to `answer_s`, from the first audio on.

    Raises httpx.HTTPStatusError, with its body read, for an error response.
    """
    player, began = Player(), time.monotonic()
    first_s = 0.0
    async with client.stream("POST", "/v1/chat/completions", json=body(answer_s, number)) as answer:
        if answer.is_error:
            await answer.aread()
        answer.raise_for_status()
        async with aclosing(timed_events(answer)) as events:
            async for data, now_s in events:
                size = _audio_bytes(data)
                if size:
                    first_s = first_s or now_s - began
                    player.add_packet(now_s, size / BYTES_PER_SECOND)
                if player.received_s >= answer_s:
                    break
    left_s = began + first_s + player.received_s - time.monotonic()
    await asyncio.sleep(max(left_s, 0.0))
    playback = player.to_playback()
    return Answer(first_s, playback.packets, playback)


def _audio_bytes(data: str) -> int:
    if '"data"' not in data:
        return 0
    choices = json.loads(data).get("choices") or [{}]
    audio = choices[0].get("delta", {}).get("audio") or {}
    return len(base64.b64decode(audio.get("data", "")))


async def run_clients(url: str, clients: int, given: argparse.Namespace) -> list[Answer]:
    """`clients` clients for `turns` answers each; the first answers, while they connect, are not counted."""
    heard: list[Answer] = []
    rng = random.Random(clients)

    async def one(number: int, starts_s: float) -> None:
        await asyncio.sleep(starts_s)
        for turn in range(given.turns):
            answer = await play_answer(client, given.answer_s * rng.uniform(0.6, 1.4), number * 100 + turn)
            if turn or given.turns == 1:
                heard.append(answer)

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with (
        httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as client,
        asyncio.TaskGroup() as group,
    ):
        for number in range(clients):
            group.create_task(one(number, rng.uniform(0, given.answer_s)))
    return heard


def row(schedule: str, clients: int, heard: list[Answer]) -> str:
    firsts = sorted(one.first_s * 1e3 for one in heard)
    underrun = [one for one in heard if one.playback.underruns]
    underrun_s = sum(one.playback.underrun_s for one in heard)
    audio_s = sum(one.playback.heard_s for one in heard)
    events = sum(one.events for one in heard) / audio_s
    high = firsts[round(0.99 * (len(firsts) - 1))]
    return (
        f"{schedule:9} {clients:8d} {len(heard):8d} {len(underrun):8d} {underrun_s:8.2f} "
        f"{median(firsts):10.0f} {high:10.0f} {events:9.1f}"
    )


@contextmanager
def running_server(checkpoint: Path, folder: Path, schedule: str, slots: int, *more: str) -> Iterator[str]:
    flags = ("--streams", str(slots), "--engine.talker.pace.scheduling", schedule)
    thinker = ("--engine.thinker.max-num-seqs", str(slots))
    server = start_server(checkpoint, folder / f"log-{schedule}", *flags, *thinker, *more)
    try:
        yield server.url
    finally:
        server.process.terminate()
        server.process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 8, 16, 24, 32])
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--answer-s", type=float, default=5.0)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2, help="rounds in which the schedules take turns")
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; answers of about {given.answer_s:g} s")
    print(
        f"{'schedule':9} {'clients':>8} {'answers':>8} {'underrun':>8} {'under, s':>8} "
        f"{'first, ms':>10} {'99th':>10} {'events/s':>9}"
    )
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "tiny"
        write_tiny_checkpoint(checkpoint)
        with ExitStack() as servers:
            urls = {
                schedule: servers.enter_context(
                    running_server(checkpoint, Path(folder), schedule, given.slots)
                )
                for schedule in SCHEDULES
            }
            for url in urls.values():
                # Every batch size compiles its operations once.
                asyncio.run(run_clients(url, max(given.clients), given))
            for clients in given.clients:
                heard: dict[str, list[Answer]] = {schedule: [] for schedule in SCHEDULES}
                for schedule in SCHEDULES * given.rounds:
                    heard[schedule] += asyncio.run(run_clients(urls[schedule], clients, given))
                for schedule in SCHEDULES:
                    print(row(schedule, clients, heard[schedule]), flush=True)


if __name__ == "__main__":
    main()
