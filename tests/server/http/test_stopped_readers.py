"""Clients on real sockets that stop reading: the kernel's buffers, and the timeouts that drop them."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ
from antiphon_server.chat.service import Service
from antiphon_server.http.app import create_app
from tests.echo_engine import EchoEngine, Script
from tests.server.exchange import becomes_true
from tests.server.parts import make_service
from tests.server.raw_http import serving

pytestmark = pytest.mark.promise("R17")

QUESTION: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Hello."}],
    "modalities": ["text", "audio"],
    "audio": {"voice": "ethan", "format": "pcm16"},
    "stream": True,
}


@contextmanager
def a_client_that_never_reads(port: int) -> Iterator[None]:
    body = json.dumps(QUESTION).encode()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.connect(("127.0.0.1", port))
        sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n")
        sock.sendall(f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        yield


def aborts(service: Service, reason: str) -> bool:
    return f'requests_aborted_total{{reason="{reason}"}} 1.0' in service.metrics.render().decode()


@pytest.mark.parametrize("pace_s", [0.05, 0.0])
async def test_a_client_that_reads_nothing_is_dropped_after_the_stated_time_for_that_reason(
    checkpoint: Path, engine: EchoEngine, pace_s: float
) -> None:
    """Slow speech leaves room in the socket's buffer, so the kernel's timeout drops the client."""
    service = make_service(checkpoint, engine, server={"timeouts": {"stalled_client_s": 1.0}})
    engine.script = Script(delay_s=pace_s, answer="One two three four five. " * 200)
    async with serving(create_app(service), service.settings.server) as port:
        with a_client_that_never_reads(port):
            assert await becomes_true(lambda: engine.running)
            began = time.monotonic()
            assert await becomes_true(lambda: not engine.running, 10)
            assert time.monotonic() - began > 0.8
            assert await becomes_true(lambda: aborts(service, "stalled_client"))
            assert not aborts(service, "disconnect")


async def test_a_socket_takes_seconds_of_speech_ahead_of_its_client_and_not_minutes(
    checkpoint: Path, engine: EchoEngine
) -> None:
    """What the kernel accepts counts as consumed: only audio beyond that pauses a stream."""
    service = make_service(checkpoint, engine, server={"timeouts": {"stalled_client_s": 1.0}})
    engine.script = Script(answer="One two three four five. " * 200)
    async with serving(create_app(service), service.settings.server) as port:
        with a_client_that_never_reads(port):
            assert await becomes_true(lambda: engine.running)
            assert await becomes_true(lambda: not engine.running, 10)
    (taken,) = engine.heard.values()
    assert 1.0 < taken / OUTPUT_SAMPLE_RATE_HZ < 12.0
