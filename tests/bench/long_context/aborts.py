"""Requests that are cut off at random moments, and the time until the server holds nothing of them."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.bench.long_context.cache_watch import in_thread
from tests.e2e.process_usage import decoders_of
from tests.e2e.server_process import MODEL, RunningServer

_LONGEST_S = 30.0
_EVERY_S = 0.02
_BUSY = (
    "antiphon_engine_requests",
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "antiphon_talker_num_requests_running",
    "antiphon_talker_num_requests_waiting",
)


@dataclass(frozen=True)
class Abort:
    """`after_s`: since it began. `decoders`, `running`: at that moment. `free_s`: until all is free again."""

    after_s: float
    decoders: int
    running: float
    free_s: float


def abort_at_random(
    server: RunningServer,
    messages: Callable[[int], list[dict[str, Any]]],
    number: int,
    within_s: float,
    seed: int = 20,
) -> list[Abort]:
    """`messages`: of each request, about a file that the server does not know. `within_s`: that one takes."""
    moments = random.Random(seed)
    return [_abort(server, messages(index), moments.uniform(0.02, 0.8) * within_s) for index in range(number)]


def _abort(server: RunningServer, messages: list[dict[str, Any]], after_s: float) -> Abort:
    body = json.dumps({"model": MODEL, "messages": messages, "max_tokens": 1, "stream": True}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        f"Content-Type: application/json\r\nAuthorization: Bearer none\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", server.port))

    def send() -> None:
        with contextlib.suppress(OSError):
            connection.sendall(head.encode() + body)

    sender = in_thread(send)
    time.sleep(after_s)
    decoders, running = decoders_of(server), _running(server)
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
    cut_s = time.monotonic()
    sender.join()
    while (decoders_of(server) or _running(server)) and time.monotonic() - cut_s < _LONGEST_S:
        time.sleep(_EVERY_S)
    return Abort(after_s, decoders, running, time.monotonic() - cut_s)


def _running(server: RunningServer) -> float:
    """Requests in the server's account and in both engines'."""
    metrics = server.metrics()
    return max(metrics.get((name, stage), 0.0) for name in _BUSY for stage in ("", "thinker"))
