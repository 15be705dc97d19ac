"""Idle realtime connections beside a few that talk: what the players hear with them and without."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection, connect

from antiphon_server.bench.measure.player import Playback, Player
from tests.chaos.realtime.caller import COUNTING
from tests.chaos.verdict import Verdict
from tests.e2e.server_process import RunningServer

BYTES_PER_S = 48_000


@dataclass(frozen=True)
class Crowd:
    """`alone`, `beside`: whole answers without the idle connections, and with them, of `asked` each. `held`:
    slots, requests and cache that the idle ones held by themselves.
    """

    idle: int
    asked: int
    still_open: int
    held: float
    alone: list[Playback]
    beside: list[Playback]

    def verdicts(self) -> list[Verdict]:
        before, after = _underruns(self.alone), _underruns(self.beside)
        return [
            Verdict("idle connections stay open", self.still_open == self.idle, f"{self.still_open}"),
            Verdict("they hold no slot, request or cache", not self.held, f"{self.held:g}"),
            # An answer that is refused or breaks off has no underrun either.
            Verdict(
                "every question is answered to its end",
                len(self.alone) == len(self.beside) == self.asked,
                f"{len(self.alone)} and {len(self.beside)} of {self.asked}",
            ),
            Verdict(
                "answers beside them have no more underruns than alone",
                after <= before,
                f"{after} in {len(self.beside)} answers ({_heard_s(self.beside):.0f} s) beside {self.idle}, "
                f"{before} in {len(self.alone)} ({_heard_s(self.alone):.0f} s) alone",
            ),
        ]


def _underruns(heard: list[Playback]) -> int:
    return sum(one.underruns for one in heard)


def _heard_s(heard: list[Playback]) -> float:
    return sum(one.heard_s for one in heard)


async def talk_beside(server: RunningServer, idle: int, talkers: int, answers: int) -> Crowd:
    """`answers`: of each talker, in each of the two parts."""
    url = server.url.replace("http", "ws", 1) + "/v1/realtime"
    async with AsyncExitStack() as stack:
        talking = [await stack.enter_async_context(connect(url, max_size=None)) for _ in range(talkers)]
        await _talk(talking, 1)
        alone = await _talk(talking, answers)
        crowd = [await stack.enter_async_context(connect(url)) for _ in range(idle)]
        await asyncio.sleep(1.0)
        held = await asyncio.to_thread(_held, server)
        beside = await _talk(talking, answers)
        pongs = await asyncio.gather(*(_answers_ping(one) for one in crowd))
        return Crowd(idle, talkers * answers, sum(pongs), held, alone, beside)


async def _answers_ping(connection: ClientConnection) -> bool:
    try:
        await asyncio.wait_for(await connection.ping(), 10)
    except Exception:
        return False
    return True


def _held(server: RunningServer) -> float:
    found = server.metrics()
    names = ("antiphon_engine_requests", "antiphon_stage_running", "antiphon_stage_queue_depth")
    held = sum(value for (name, _), value in found.items() if name in names)
    cache = sum(value for (name, _), value in found.items() if name.endswith("kv_cache_usage_perc"))
    return held + cache + found["antiphon_speech_slots", "used"]


async def _talk(talking: list[ClientConnection], answers: int) -> list[Playback]:
    heard = await asyncio.gather(*(_listen(one, answers, after_s) for after_s, one in enumerate(talking)))
    return [playback for playbacks in heard for playback in playbacks]


async def _listen(connection: ClientConnection, answers: int, after_s: float) -> list[Playback]:
    """Asks again when the answer has been played. Whole answers only."""
    await asyncio.sleep(after_s * 0.7)
    heard = []
    for _ in range(answers):
        player, first_s = Player(), 0.0
        content = [{"type": "input_text", "text": COUNTING}]
        item = {"type": "message", "role": "user", "content": content}
        await connection.send(json.dumps({"type": "conversation.item.create", "item": item}))
        await connection.send(json.dumps({"type": "response.create"}))
        while True:
            event = json.loads(await asyncio.wait_for(connection.recv(), 60))
            if event["type"] == "response.output_audio.delta":
                first_s = first_s or time.monotonic()
                player.add_packet(time.monotonic(), len(event["delta"]) * 3 / 4 / BYTES_PER_S)
            elif event["type"] == "response.done":
                break
        playback = player.to_playback()
        if event["response"]["status"] in ("completed", "incomplete") and playback.heard_s:
            heard.append(playback)
        await asyncio.sleep(max(0.0, first_s + playback.heard_s + playback.underrun_s - time.monotonic()))
    return heard
