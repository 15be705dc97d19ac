"""Clients that disconnect on a real socket at any time: the engine is free at once."""

from __future__ import annotations

import json
import random
import socket
import struct
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conformance.conftest import Served
from tests.e2e.server_process import becomes
from tests.echo_engine import Script

pytestmark = pytest.mark.promise("R16")

# The promise is 200 ms for the server; this limit includes the client and the test.
FREE_WITHIN_S = 1.0
HANG = "please hang"
SLOW = "please take your time, and say a long sentence while you do"


@pytest.fixture(autouse=True)
def cues(served: Served) -> None:
    served.engine.cues[HANG] = Script(hang_at=4)
    served.engine.cues["please wait"] = Script(hang_at=0)
    served.engine.cues[SLOW] = Script(delay_s=0.005)


def call(served: Served, text: str, *, stream: bool) -> socket.socket:
    """A socket with a spoken request on its way."""
    where = urlsplit(served.url)
    sock = socket.create_connection((where.hostname or "", where.port or 0), timeout=10)
    body = json.dumps(
        {
            "messages": [{"role": "user", "content": text}],
            "modalities": ["text", "audio"],
            "stream": stream,
        }
    ).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    sock.sendall(head.encode() + body)
    return sock


def reset(sock: socket.socket) -> None:
    """Hang up without a goodbye."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("hang_up", [reset, socket.socket.close])
@pytest.mark.parametrize(
    ("text", "stream"), [(HANG, True), (HANG, False), ("please wait", True), ("please wait", False)]
)
def test_a_client_that_hangs_up_frees_the_engine(
    served: Served, hang_up: Any, text: str, stream: bool
) -> None:
    aborted = served.engine.aborted
    sock = call(served, text, stream=stream)
    assert becomes(lambda: served.engine.running == 1, 5)
    if stream and text == HANG:
        assert b"200 OK" in sock.recv(4096)
    hang_up(sock)
    assert becomes(lambda: served.engine.running == 0, FREE_WITHIN_S)
    assert served.engine.aborted == aborted + 1
    assert becomes(lambda: served.service.admission.requests == 0, FREE_WITHIN_S)


def test_two_hundred_random_hang_ups_leave_nothing_running(served: Served) -> None:
    """Eight callers at a time, each gone after up to 80 ms."""
    dice = random.Random(7)
    before = served.engine.aborted
    for _ in range(25):
        callers = [call(served, SLOW, stream=dice.random() < 0.5) for _ in range(8)]
        for caller in callers:
            time.sleep(dice.random() * 0.01)
            reset(caller)
    assert becomes(lambda: served.engine.running == served.service.admission.requests == 0, FREE_WITHIN_S)
    assert served.engine.aborted > before
    load = served.service.admission.load
    assert load.running.sequences == load.running.streams == 0
