"""Server processes of benchmarks: a free port, the wait until one is ready, and how they end."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_READY_WITHIN_S = 240.0


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_until_ready(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    """Returns when the server lists its models. Raises RuntimeError with its log if it does not start."""
    deadline_s = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline_s and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as probe:
            probe.sendall(b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            if b" 200 " in probe.recv(64):
                return
        time.sleep(0.2)
    raise RuntimeError(f"the server did not start: {log.read_text()[-3000:]}")


def exit_on_sigterm() -> None:
    """SIGTERM, which `timeout` sends, ends the benchmark as an error does: it ends its servers first."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
