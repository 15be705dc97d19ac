"""Clients that read one byte per second, or nothing: disconnected in time, without effect on others.

In: a running server. Out: one `Slow` for each way to be slow. Receive buffers are small, because the server
counts what a kernel buffers as read.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

from tests.chaos.endings import Ending, listen
from tests.chaos.questions import LASTING, STREAMED
from tests.chaos.verdict import Verdict
from tests.e2e.answers import said
from tests.e2e.server_process import MODEL, RunningServer, becomes

BUFFER_BYTES = 2_048
READERS = 2
FILLING_S = 90.0
# A stream is generated 8 s ahead of its client (`talker.pace.park_s`); the socket buffers about 4 s more.
MOST_MADE_S = 20.0
LASTING_SPEECH: dict[str, Any] = {
    "model": MODEL,
    "messages": said("Speak without an end."),
    **STREAMED,
    **LASTING,
    "max_tokens": 4000,
}
SHORT = {"model": MODEL, "messages": said("Still there?"), **STREAMED, "max_tokens": 8, "seed": 1}


@dataclass(frozen=True)
class Slow:
    """`READERS` clients that read slowly in one way.

    `ended_s`: from the last accepted speech to the end of the requests. If speech is generated more slowly
    than buffers fill, the kernel ends a connection whose window has been closed for the stated time, before
    they are full. `lasted_s`: from the clients' start. `made_s`: seconds of speech generated for each,
    including the short answer of another client.
    `reasons`: the abort reasons in the metrics.
    """

    way: str
    ended_s: float
    lasted_s: float
    made_s: float
    reasons: dict[str, int]
    meanwhile: Ending

    def verdicts(self, stated_s: float, spare_s: float) -> list[Verdict]:
        lasted = f"{self.lasted_s:.1f} s from the start, {self.ended_s:.1f} s after the last byte was placed"
        stalled = self.reasons.get("stalled_client", 0)
        return [
            Verdict(
                f"who reads {self.way} is given up after {stated_s:g} s",
                stated_s * 0.8 < self.lasted_s and self.ended_s < stated_s + spare_s,
                lasted,
            ),
            Verdict(
                f"who reads {self.way} is given up for that reason",
                stalled == READERS == sum(self.reasons.values()),
                ", ".join(f"{number} {reason}" for reason, number in self.reasons.items()) or "none told",
            ),
            Verdict(
                f"who reads {self.way} costs no speech beyond {MOST_MADE_S:g} s",
                self.made_s < MOST_MADE_S,
                f"{self.made_s:.1f} s were made",
            ),
            Verdict(
                "another client's answer is whole meanwhile", self.meanwhile.is_whole, str(self.meanwhile)
            ),
        ]


def read_slowly(server: RunningServer) -> list[Slow]:
    return [
        _read_in_one_way(server, way, bytes_per_second)
        for way, bytes_per_second in (("a byte a second", 1), ("nothing", 0))
    ]


def _read_in_one_way(server: RunningServer, way: str, bytes_per_second: int) -> Slow:
    over, began, aborts = threading.Event(), time.monotonic(), _aborts(server)
    readers = [
        threading.Thread(target=_read, args=(server.port, bytes_per_second, over), daemon=True)
        for _ in range(READERS)
    ]
    made_s = _made_s(server)
    for reader in readers:
        reader.start()
    assert becomes(lambda: _running(server) >= READERS, 30), server.metrics()
    meanwhile = listen(server.url, SHORT)
    ended_s = _time_to_give_up(server)
    lasted_s, made_s = time.monotonic() - began, _made_s(server) - made_s
    over.set()
    for reader in readers:
        reader.join(10)
    assert becomes(server.is_idle, 10), server.metrics()
    reasons = {name: number - aborts.get(name, 0) for name, number in _aborts(server).items()}
    told = {name: number for name, number in reasons.items() if number}
    return Slow(way, ended_s, lasted_s, made_s / READERS, told, meanwhile)


def _aborts(server: RunningServer) -> dict[str, int]:
    """Requests aborted so far, by reason."""
    name = "antiphon_requests_aborted_total"
    return {reason: int(value) for (found, reason), value in server.metrics().items() if found == name}


def _made_s(server: RunningServer) -> float:
    return server.metrics()["antiphon_audio_seconds_generated_total", ""]


def _time_to_give_up(server: RunningServer) -> float:
    """Seconds for which the server sent nothing before the requests ended."""
    full_at, sent = time.monotonic(), -1.0
    until = time.monotonic() + FILLING_S
    while _running(server) and time.monotonic() < until:
        now = _made_s(server)
        if now != sent:
            full_at, sent = time.monotonic(), now
        time.sleep(0.05)
    return time.monotonic() - full_at


def _running(server: RunningServer) -> float:
    return server.metrics()["antiphon_stage_running", "talker"]


def _read(port: int, bytes_per_second: int, over: threading.Event) -> None:
    body = json.dumps(LASTING_SPEECH).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        sock.connect(("127.0.0.1", port))
        sock.sendall(head.encode() + body)
        while not over.wait(1.0):
            try:
                if bytes_per_second and not sock.recv(bytes_per_second):
                    return
            except OSError:
                return
