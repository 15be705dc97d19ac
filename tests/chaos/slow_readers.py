"""Clients that read a byte a second, or nothing: given up after the stated time, at nobody else's cost.

In: a running server and its `stalled_client_s`. Out: `SlowReport`. Receive buffers are small, so that the
server feels it: what a kernel holds for a client is, to any server, taken.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.endings import Ending, listen
from tests.chaos.questions import LASTING
from tests.e2e.answers import STREAMED, said
from tests.e2e.server_process import MODEL, RunningServer, becomes

BUFFER_BYTES = 2_048
READERS = 2
FILLING_S = 90.0
LASTING_SPEECH: dict[str, Any] = {
    "model": MODEL,
    "messages": said("Speak without an end."),
    **STREAMED,
    **LASTING,
    "max_tokens": 4000,
}
SHORT = {"model": MODEL, "messages": said("Still there?"), **STREAMED, "max_tokens": 8, "seed": 1}


@dataclass
class SlowReport:
    """`ended_s`: from the last byte that could be placed to the turn's end, by the way to be slow.

    Where speech is made more slowly than buffers fill, the kernel ends a connection whose window has been
    closed for the stated time before they are full. `lasted_s`: from the client's start.
    """

    stated_s: float
    ended_s: dict[str, float] = field(default_factory=dict)
    lasted_s: dict[str, float] = field(default_factory=dict)
    meanwhile: list[Ending] = field(default_factory=list)
    aborted: int = 0

    def failures(self, spare_s: float) -> list[str]:
        late = {way: s for way, s in self.ended_s.items() if s > self.stated_s + spare_s}
        found = [f"{way}: ended after {s:.1f} s" for way, s in late.items()]
        if not all(ending.is_whole for ending in self.meanwhile):
            found.append("somebody else's answer did not end whole meanwhile")
        return found

    def __str__(self) -> str:
        ways = ", ".join(
            f"{way} {s:.1f} s after ({self.lasted_s[way]:.1f} s from its start)"
            for way, s in self.ended_s.items()
        )
        return f"slow readers (stated: {self.stated_s:g} s), ended after the last byte was placed: {ways}"


def read_slowly(server: RunningServer, stated_s: float) -> SlowReport:
    report = SlowReport(stated_s)
    for way, bytes_per_second in (("a byte a second", 1), ("nothing", 0)):
        over, began = threading.Event(), time.monotonic()
        readers = [
            threading.Thread(target=_read, args=(server.port, bytes_per_second, over), daemon=True)
            for _ in range(READERS)
        ]
        for reader in readers:
            reader.start()
        assert becomes(lambda: _running(server) >= READERS, 30), server.metrics()
        report.meanwhile.append(listen(server.url, SHORT))
        report.ended_s[way] = _time_to_give_up(server)
        report.lasted_s[way] = time.monotonic() - began
        over.set()
        for reader in readers:
            reader.join(10)
        assert becomes(server.is_idle, 10), server.metrics()
    return report


def _time_to_give_up(server: RunningServer) -> float:
    """Seconds for which the server sent nothing before the turns had ended."""
    full_at, sent = time.monotonic(), -1.0
    until = time.monotonic() + FILLING_S
    while _running(server) and time.monotonic() < until:
        now = server.metrics()["antiphon_audio_seconds_generated_total", ""]
        if now != sent:
            full_at, sent = time.monotonic(), now
        time.sleep(0.05)
    return time.monotonic() - full_at


def _running(server: RunningServer) -> float:
    return server.metrics()["antiphon_stage_running", "talker"]


def _read(port: int, bytes_per_second: int, over: threading.Event) -> None:
    body = json.dumps(LASTING_SPEECH).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: chaos\r\nContent-Length: {len(body)}\r\n\r\n"
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
