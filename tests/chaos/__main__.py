"""`make chaos`: repeated faults around a running server. Prints verdicts; exit code 1 if a promise is broken.

The real engines load the tiny checkpoint. Most engine deaths hit a stand-in: its engines are processes that
start at once, under the product's own supervisor.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil  # type: ignore[import-untyped]

from antiphon_executor.tiny import write_tiny_checkpoint
from tests.chaos.client_kills import kill_clients
from tests.chaos.draining import drain_behind_nginx, pass_through
from tests.chaos.engine_deaths import kill_engines
from tests.chaos.proxy import NGINX
from tests.chaos.slow_readers import read_slowly
from tests.chaos.stand_in import engine_process, start_stand_in
from tests.chaos.verdict import Verdict, broken
from tests.chaos.vitals import FEW_COMPILED
from tests.e2e.live_stream import talker_process, thinker_process
from tests.e2e.recordings import make_recordings
from tests.e2e.server_process import RunningServer, becomes, start_server

REAL = ("--engine.hang-s", "8", "--engine.restarts", "1000")
STAND_IN = ("--engine.hang-s", "0.5")
STALLED_S = 5.0


class Chaos:
    """One run. `verdicts`: the promises checked so far."""

    def __init__(self, given: argparse.Namespace, folder: Path) -> None:
        self._given = given
        self._folder = folder
        self.verdicts: list[Verdict] = []
        self._checkpoint = folder / "tiny"
        write_tiny_checkpoint(self._checkpoint, given.family)

    def run(self) -> None:
        given = self._given
        if given.kills:
            self._kill_clients()
        if given.rounds:
            self._kill_engines(given.rounds, real=False)
        if given.real_rounds:
            self._kill_engines(given.real_rounds, real=True)
        if given.slow:
            self._read_slowly()
        if given.proxy and NGINX is None:
            print("nginx is not installed: nothing behind a proxy was tried")
        elif given.proxy:
            self._go_behind_nginx()

    def _kill_clients(self) -> None:
        with self._server("kills") as server:
            given = self._given
            report = kill_clients(
                server, given.kills, given.batches, make_recordings(), within_s=given.minutes * 60
            )
        self._tell(str(report), report.verdicts(given.free_within))

    def _kill_engines(self, rounds: int, *, real: bool) -> None:
        within_s = self._given.minutes * 60
        if real:
            with self._server("deaths", *REAL) as server:
                report = kill_engines(server, rounds, _real_engine, within_s=within_s)
        else:
            with self._stand_in("stand-in", *STAND_IN) as server:
                report = kill_engines(server, rounds, engine_process, within_s=within_s)
        self._tell(f"{'real engines' if real else 'stand-in'}: {report}", report.verdicts())

    def _read_slowly(self) -> None:
        flags = ("--server.timeouts.stalled-client-s", f"{STALLED_S:g}")
        with self._server("slow", *flags) as server:
            ways = read_slowly(server)
        verdicts = [verdict for way in ways for verdict in way.verdicts(STALLED_S, spare_s=STALLED_S)]
        self._tell("slow readers", verdicts)

    def _go_behind_nginx(self) -> None:
        with self._server("leaving") as leaving, self._stand_in("staying") as staying:
            report = drain_behind_nginx(self._folder / "nginx", leaving, staying)
        self._tell("a drain behind nginx", report.verdicts())
        with self._stand_in("slow-start", prefill_s=40.0, step_s=0.05) as server:
            passage = pass_through(self._folder / "nginx-40", server, 20)
        self._tell("40 s of silence behind nginx", passage.verdicts())

    def _tell(self, report: str, verdicts: list[Verdict]) -> None:
        print(report, *verdicts, sep="\n", end="\n\n", flush=True)
        self.verdicts += verdicts

    @contextmanager
    def _server(self, name: str, *flags: str) -> Iterator[RunningServer]:
        with self._ended(start_server(self._checkpoint, self._folder / f"log-{name}", *flags)) as server:
            yield server

    @contextmanager
    def _stand_in(
        self, name: str, *flags: str, step_s: float = 0.01, prefill_s: float = 0.0
    ) -> Iterator[RunningServer]:
        log = self._folder / f"log-{name}"
        server = start_stand_in(self._checkpoint, log, *flags, step_s=step_s, prefill_s=prefill_s)
        with self._ended(server):
            yield server

    @contextmanager
    def _ended(self, server: RunningServer) -> Iterator[RunningServer]:
        """Stops it at exit. A process that is left afterwards is a broken promise."""
        try:
            yield server
            server.tree()
            if server.process.poll() is None:
                server.process.terminate()
            ended = becomes(lambda: server.process.poll() is not None, 60)
            # A process that only ends slowly has ended by then; a leaked one has not.
            alone = becomes(lambda: not server.survivors(), 20)
            measured = f"code {server.process.poll()}, left: {server.survivors() or 'none'}"
            self._tell(
                "the server's end", [Verdict("a server ends with all it started", ended and alone, measured)]
            )
        finally:
            server.end()


def _real_engine(server: RunningServer, stage: str) -> psutil.Process:
    return talker_process(server) if stage == "talker" else thinker_process(server)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--family", default="qwen3_omni", choices=("qwen3_omni", "qwen3_5_omni"))
    parser.add_argument("--kills", type=int, default=1000, help="clients that leave")
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument(
        "--minutes", type=float, default=12, help="for the kills, and for each sort of deaths"
    )
    parser.add_argument("--free-within", type=float, default=0.2, help="seconds, on a quiet machine")
    parser.add_argument("--rounds", type=int, default=200, help="engine deaths on the stand-in")
    parser.add_argument("--real-rounds", type=int, default=8, help="engine deaths on the real engines")
    parser.add_argument("--slow", type=int, default=1, help="0: no slow readers")
    parser.add_argument("--proxy", type=int, default=1, help="0: nothing behind nginx")
    return parser.parse_args()


def main() -> int:
    given, began = arguments(), time.monotonic()
    # On SIGTERM the run ends its servers, which have sessions of their own.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ |= FEW_COMPILED
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n", flush=True)
    with TemporaryDirectory() as folder:
        chaos = Chaos(given, Path(folder))
        chaos.run()
    lost = broken(chaos.verdicts)
    verdict = f"{len(lost)} of {len(chaos.verdicts)} promises broken" if lost else "everything held"
    print(
        *lost,
        f"{verdict}; {time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.1f} at the end",
        sep="\n",
    )
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
