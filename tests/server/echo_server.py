"""The whole of `antiphon serve` over the echo engine, as a process: FOLDER, then flags.

SIGUSR1 kills the Talker, SIGHUP the HTTP server. With ECHO_HANGS_AT a request hangs before that event, until
SIGUSR2. ECHO_LOADS_UNTIL: the engine loads until there is this file. ECHO_DEAD_EXIT_S: seconds from the death
of an engine to a forced exit.
With ECHO_CHILD_WRITES an engine process of it has written that to standard output and error, before it serves
and with each request. Prints the banner once it serves.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

from antiphon_executor.interface.errors import OperatorError
from antiphon_executor.interface.events import OmniEvent
from antiphon_executor.interface.request import OmniRequest
from antiphon_executor.interface.settings import EngineSettings
from antiphon_server.config.flags import add_settings
from antiphon_server.config.parser import FlagParser
from antiphon_server.config.sources import load
from antiphon_server.process import serve
from antiphon_server.process.preflight import listen
from tests.echo_engine import EchoEngine, Script


class Sticky(EchoEngine):
    """Its `close` blocks the event loop, as a library's shutdown may."""

    async def close(self) -> None:
        time.sleep(float(os.environ.get("ECHO_CLOSES_S", "0")))  # noqa: ASYNC251

    async def events_of(self, request: OmniRequest) -> AsyncGenerator[OmniEvent]:
        await write_in_child()
        async with aclosing(super().events_of(request)) as events:
            async for event in events:
                yield event


async def write_in_child() -> None:
    """As an engine's process and its C++ parts do: to the descriptors that it has inherited."""
    if text := os.environ.get("ECHO_CHILD_WRITES"):
        program = "import os, sys; [os.write(n, os.fsencode(sys.argv[1])) for n in (1, 2)]"
        child = await asyncio.create_subprocess_exec(sys.executable, "-SIc", program, text)
        await child.wait()


async def start_echo(settings: EngineSettings, progress: Callable[[str], None]) -> EchoEngine:
    progress("starting the echo")
    await write_in_child()
    if message := os.environ.get("ECHO_FAILS_WITH"):
        raise RuntimeError(message)
    if message := os.environ.get("ECHO_REFUSES_WITH"):
        raise OperatorError(message)
    while (until := os.environ.get("ECHO_LOADS_UNTIL")) and not Path(until).exists():  # noqa: ASYNC110, ASYNC240
        await asyncio.sleep(0.02)
    engine = Sticky(settings.model)

    def lose_http() -> None:
        for task in asyncio.all_tasks():
            if task.get_name() == "http":
                task.cancel()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, lose_http)
    loop.add_signal_handler(signal.SIGUSR1, engine.kill, "talker")
    hang_at = os.environ.get("ECHO_HANGS_AT")
    engine.script = Script(
        hang_at=int(hang_at) if hang_at else None, delay_s=float(os.environ.get("ECHO_DELAY_S", "0"))
    )
    loop.add_signal_handler(signal.SIGUSR2, engine.script.resumed.set)
    return engine


def main() -> int:
    if count := os.environ.get("ECHO_DESCRIPTORS"):
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(count), int(count)))
    if dead_exit_s := os.environ.get("ECHO_DEAD_EXIT_S"):
        serve._DEAD_EXIT_S = float(dead_exit_s)
    parser = FlagParser("echo", "")
    parser.add_argument("model", type=Path)
    add_settings(parser)
    given = parser.parse(sys.argv[1:])
    settings = load({"engine.model": given.model, **given.settings}).settings
    server = settings.server
    with listen(server.host, server.port, server.timeouts.stalled_client_s) as sock:
        return serve.run(settings, sock, start_echo)


if __name__ == "__main__":
    raise SystemExit(main())
