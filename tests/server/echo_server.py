"""The whole of `antiphon serve` over the echo engine, as a process: FOLDER, then flags.

SIGUSR1 kills the Talker; SIGUSR2 lets later turns hang after two events. Prints the banner once it serves.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from antiphon_executor.protocol import OperatorError
from antiphon_executor.settings import EngineSettings
from antiphon_server.checks import listen
from antiphon_server.flags import FlagParser
from antiphon_server.serve import run
from antiphon_server.sources import load
from tests.echo_engine import EchoEngine, Script


class Sticky(EchoEngine):
    """Its `close` blocks the event loop, as a library's shutdown may."""

    async def close(self) -> None:
        time.sleep(float(os.environ.get("ECHO_CLOSES_S", "0")))  # noqa: ASYNC251


async def start_echo(settings: EngineSettings, progress: Callable[[str], None]) -> EchoEngine:
    progress("starting the echo")
    if message := os.environ.get("ECHO_FAILS_WITH"):
        raise RuntimeError(message)
    if message := os.environ.get("ECHO_REFUSES_WITH"):
        raise OperatorError(message)
    await asyncio.sleep(float(os.environ.get("ECHO_LOADS_S", "0")))
    engine = Sticky(settings.model)

    def hang() -> None:
        engine.script = Script(hang_at=3)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, engine.kill, "talker")
    loop.add_signal_handler(signal.SIGUSR2, hang)
    engine.script = Script(delay_s=float(os.environ.get("ECHO_DELAY_S", "0")))
    return engine


def main() -> int:
    parser = FlagParser("echo", "")
    parser.add_argument("model", type=Path)
    parser.add_settings()
    given = parser.parse(sys.argv[1:])
    settings = load({"engine.model": given.model, **given.settings}).settings
    server = settings.server
    with listen(server.host, server.port, server.timeouts.stalled_client_s) as sock:
        return run(settings, sock, start_echo)


if __name__ == "__main__":
    raise SystemExit(main())
