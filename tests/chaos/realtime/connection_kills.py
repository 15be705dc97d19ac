"""Realtime connections that break off at random moments, in batches; after each batch nothing may be held.

In: a running server with a folder for its temporary files. Out: `ConnectionKills`.
"""

from __future__ import annotations

import random
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from statistics import mean, median

import numpy as np
from websockets.exceptions import WebSocketException

from tests.chaos.realtime.caller import COUNTING, Caller, calling, silence, speech
from tests.chaos.stillness import stillness_of
from tests.chaos.verdict import Verdict
from tests.chaos.vitals import Vitals, grown, quarters_of, vitals_at_rest
from tests.e2e.server_process import RunningServer, becomes

AT_ONCE = 6
WARMING = 4
MOST_MIB = 16.0
GIVEN_UP_S = 20.0
HEARING = {"audio": {"input": {"transcription": {"model": "whisper-1"}}}}


class Moment(StrEnum):
    """When a connection breaks off."""

    IN_THE_HANDSHAKE = "in the handshake"
    WHEN_OPEN = "when open"
    IN_THE_SPEECH = "while the user speaks"
    IN_AN_EVENT = "within an event"
    AFTER_THE_SPEECH = "after the user's speech"
    IN_THE_ANSWER = "in the answer"
    BESIDE = "in responses beside the conversation"
    AT_THE_CANCEL = "at the cancel"
    AT_THE_BARGE_IN = "at the barge-in"


@dataclass(frozen=True)
class Kill:
    """`events`: how many it reads before; `waits_s`: how long it stays then. `resets`: RST instead of FIN."""

    moment: Moment
    events: int
    waits_s: float
    resets: bool


@dataclass
class ConnectionKills:
    """`free_s`: for each batch, until nothing is held. `files`: what lay in the temporary folder then."""

    wanted: int
    kills: Counter[str] = field(default_factory=Counter)
    free_s: list[float] = field(default_factory=list)
    vitals: list[Vitals] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def verdicts(self, free_within_s: float) -> list[Verdict]:
        memory = [mean(one.memory_mib for one in part) for part in quarters_of(self.vitals)]
        by_quarter = " ".join(f"{mib:.0f}" for mib in memory)
        total, late = self.kills.total(), sum(s > free_within_s for s in self.free_s)
        return [
            Verdict("connections break off", total == self.wanted, f"{total} of {self.wanted}"),
            Verdict(
                f"no request, slot, cache or connection is held {free_within_s:g} s later",
                not late,
                f"{max(self.free_s) * 1e3:.0f} ms at most, {median(self.free_s) * 1e3:.0f} ms (median) "
                f"of {len(self.free_s)}, late {late} times",
            ),
            *grown(self.vitals),
            Verdict(
                "temporary files do not grow",
                self.files[-1] <= self.files[0],
                f"{self.files[0]} after the first batch, {self.files[-1]} after the last",
            ),
            Verdict(
                "memory has stopped growing",
                memory[-1] - memory[-2:][0] < MOST_MIB,
                f"by quarter {by_quarter} MiB, at last at most {MOST_MIB:g} more",
            ),
        ]

    def __str__(self) -> str:
        moments = ", ".join(f"{number} {moment}" for moment, number in sorted(self.kills.items()))
        return f"{self.kills.total()} connections broke off: {moments}"


def kill_connections(
    server: RunningServer, kills: int, batches: int, temporary: Path, seed: int = 7
) -> ConnectionKills:
    """Warm-up batches are not counted."""
    dice, report = random.Random(seed), ConnectionKills(kills)
    for _ in range(WARMING):
        _batch(server, [_draw(dice) for _ in range(2 * AT_ONCE)])
    for number in range(batches):
        size = kills * (number + 1) // batches - kills * number // batches
        drawn = [_draw(dice) for _ in range(size)]
        report.free_s.append(_batch(server, drawn))
        report.kills.update(one.moment.value for one in drawn)
        report.vitals.append(vitals_at_rest(server))
        report.files.append(sum(file.is_file() for file in temporary.rglob("*")))
    return report


def _draw(dice: random.Random) -> Kill:
    waits_s = dice.choice([0.0, dice.uniform(0, 0.3)])
    return Kill(dice.choice(list(Moment)), dice.randrange(24), waits_s, dice.random() < 0.5)


def _batch(server: RunningServer, kills: list[Kill]) -> float:
    """The seconds from the last connection's end until nothing is held."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda kill: _play(server, kill), kills))
    began = time.monotonic()
    with stillness_of(server.port) as stillness:
        becomes(lambda: stillness.is_still() and not _held(server), GIVEN_UP_S, every_s=0.01)
    return time.monotonic() - began


def _held(server: RunningServer) -> float:
    """Connections, and blocks of the engines' caches."""
    return sum(
        value
        for (name, _), value in server.metrics().items()
        if name == "antiphon_realtime_connections" or name.endswith("kv_cache_usage_perc")
    )


def _play(server: RunningServer, kill: Kill) -> None:
    if kill.moment is Moment.IN_THE_HANDSHAKE:
        _half_a_handshake(server.port, kill)
        return
    with suppress(WebSocketException, OSError, TimeoutError), calling(server.url, **HEARING) as caller:
        try:
            _lead_to(caller, kill)
            time.sleep(kill.waits_s)
        finally:
            caller.break_off(resets=kill.resets)


def _half_a_handshake(port: int, kill: Kill) -> None:
    head = (
        b"GET /v1/realtime HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(head[: kill.events * 5])
        time.sleep(kill.waits_s)


def _lead_to(caller: Caller, kill: Kill) -> None:
    question = np.concatenate((silence(0.3), speech("What is seven plus five?"), silence(0.8)))
    match kill.moment:
        case Moment.WHEN_OPEN:
            caller.receive()
        case Moment.IN_THE_SPEECH:
            caller.say(question[: kill.events * len(question) // 24])
        case Moment.IN_AN_EVENT:
            caller.say(question[:24_000])
            # A text frame of 60,000 bytes, of which 500 come.
            caller.connection.socket.sendall(b"\x81\xfe\xea\x60\x00\x00\x00\x00" + b"x" * 500)
        case Moment.AFTER_THE_SPEECH:
            caller.say(question)
            caller.until("input_audio_buffer.committed")
            _read(caller, kill.events)
        case Moment.IN_THE_ANSWER:
            _ask(caller, kill.events)
        case Moment.BESIDE:
            for _ in range(2):
                caller.send("response.create", response={"conversation": "none", "instructions": COUNTING})
            _read(caller, kill.events)
        case Moment.AT_THE_CANCEL:
            _ask(caller, kill.events)
            caller.send("response.cancel")
        case Moment.AT_THE_BARGE_IN:
            _ask(caller, kill.events)
            caller.say(speech("Please stop now."))


def _ask(caller: Caller, events: int) -> None:
    caller.write(COUNTING)
    caller.send("response.create")
    _read(caller, events)


def _read(caller: Caller, events: int) -> None:
    """As many, or fewer if the response ends."""
    for _ in range(events):
        if caller.receive()["type"] == "response.done":
            return
