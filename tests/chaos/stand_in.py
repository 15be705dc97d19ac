"""The whole of `antiphon serve` over `EngineOfProcesses`, as a process that is ready in a second.

`CHAOS_STEP_S`: time per step. `CHAOS_PREFILL_S`: time to the first event. `CHAOS_SENTENCES`: length of the
answers, about 20 pieces of text and 3 s of speech each.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from antiphon_executor.interface.settings import EngineSettings
from antiphon_server.config.flags import add_settings
from antiphon_server.config.parser import FlagParser
from antiphon_server.config.sources import load
from antiphon_server.process.preflight import listen
from antiphon_server.process.serve import run
from tests.chaos.process_engine import EngineOfProcesses
from tests.e2e.server_process import MODEL, RunningServer
from tests.echo_engine import Script

SENTENCE = "A long answer, said again and again. "


def start_stand_in(
    checkpoint: Path,
    log: Path,
    *flags: str,
    step_s: float = 0.01,
    prefill_s: float = 0.0,
    sentences: int = 12,
) -> RunningServer:
    """Returns once it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    pace = {
        "CHAOS_STEP_S": str(step_s),
        "CHAOS_PREFILL_S": str(prefill_s),
        "CHAOS_SENTENCES": str(sentences),
    }
    named = ("--served-model-name", MODEL, "--port", str(port))
    command = (sys.executable, "-m", "tests.chaos.stand_in", str(checkpoint), *named, *flags)
    server = RunningServer(command, {**os.environ, **pace}, port, log)
    server.start()
    return server


def engine_process(server: RunningServer, stage: str) -> psutil.Process:
    """The process of a stage. LookupError if there is none."""
    for process in server.tree()[1:]:
        try:
            if process.cmdline()[-1:] == [stage] and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except psutil.NoSuchProcess:
            continue
    raise LookupError(stage)


async def _start(settings: EngineSettings, progress: Callable[[str], None]) -> EngineOfProcesses:
    progress("starting two processes")
    engine = await EngineOfProcesses.start(settings.model, settings.hang_s)
    step_s, prefill_s = float(os.environ["CHAOS_STEP_S"]), float(os.environ["CHAOS_PREFILL_S"])
    answer = SENTENCE * int(os.environ["CHAOS_SENTENCES"])
    engine.script = Script(answer=answer, delay_s=step_s, delays_s={0: prefill_s})
    return engine


def main() -> int:
    parser = FlagParser("stand-in", "")
    parser.add_argument("model", type=Path)
    add_settings(parser)
    given = parser.parse(sys.argv[1:])
    settings = load({"engine.model": given.model, **given.settings}).settings
    server = settings.server
    with listen(server.host, server.port, server.timeouts.stalled_client_s) as sock:
        return run(settings, sock, _start)


if __name__ == "__main__":
    raise SystemExit(main())
