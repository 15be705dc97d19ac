"""Starts, inspects and ends `antiphon serve` in its own process. Imports nothing of the server."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import openai
import psutil  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.forked_server import ForkedServer
from tests.machine import Patience

READY_WITHIN_S = 240.0
MODEL = "omni"
STAGES = ("thinker", "talker")
# Of one engine: as many as the tests cause. Each makes the delay of the next restart twice as long.
MAX_DEATHS = 3
FLAGS = ("--served-model-name", MODEL, "--max-model-len", "4096", "--streams", "8", "--dtype", "float32")
# The settings of the engine, as `antiphon compile` takes them.
COMPILE_FLAGS = FLAGS
# What a machine that does other things besides keeps in real time is not what these tests are about.
FLAGS += ("--no-server.limits.real-time",)
# One thread a process, tied to no core: two engines and other people share the machine.
_TELLING = ("stage", "state", "reason", "outcome")
_QUIET = {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}

ServerProcess = subprocess.Popen[bytes] | ForkedServer
# Of command, environment and log.
Launch = Callable[[tuple[str, ...], dict[str, str], Path], ServerProcess]


def spawned(command: tuple[str, ...], environment: dict[str, str], log: Path) -> ServerProcess:
    """As an operator starts it."""
    with log.open("wb") as out:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def engine_metric(name: str, stage: str) -> tuple[str, str]:
    """The key in `RunningServer.metrics` of what vLLM exports as `vllm:name` for one engine."""
    return (f"vllm:{name}" if stage == "thinker" else f"antiphon_{stage}_{name}"), ""


@dataclass
class RunningServer:
    """`start_s`: from the command to a ready server."""

    command: tuple[str, ...]
    environment: dict[str, str]
    port: int
    log: Path
    launch: Launch = spawned
    process: ServerProcess = field(init=False)
    start_s: float = 0.0
    seen: dict[int, psutil.Process] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=15, verify=False)

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=120)

    def tree(self) -> list[psutil.Process]:
        """The server's process and all below it; remembered, so that orphans can be found later."""
        processes = []
        with contextlib.suppress(psutil.NoSuchProcess):
            server = psutil.Process(self.process.pid)
            processes = [server, *server.children(recursive=True)]
        self.seen.update({process.pid: process for process in processes})
        return processes

    def survivors(self) -> list[psutil.Process]:
        """Processes of the server that are still there, zombies aside."""
        found = []
        for process in self.seen.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def what_survives(self) -> str:
        """The command lines of the survivors, for the message of a failed test."""
        lines = []
        for process in self.survivors():
            with contextlib.suppress(psutil.Error):
                lines.append(f"{process.pid} {process.status()}: {' '.join(process.cmdline())}")
        return "\n".join(lines)

    def holder_of(self, socket_name: str) -> psutil.Process:
        """The engine process that has bound the unix socket of this name."""
        for process in self.tree()[1:]:
            with contextlib.suppress(psutil.Error):
                if any(Path(str(c.laddr)).name == socket_name for c in process.net_connections("unix")):
                    return process
        raise LookupError(socket_name)

    def metrics(self) -> dict[tuple[str, str], float]:
        """Gauges and counters by name and by the value of the label that tells them apart."""
        found: dict[tuple[str, str], float] = {}
        for family in text_string_to_metric_families(self.get("/metrics").text):
            for sample in family.samples:
                labels = [sample.labels[name] for name in _TELLING if name in sample.labels]
                found[sample.name, labels[0] if labels else ""] = sample.value
        return found

    def is_idle(self) -> bool:
        """Nothing runs, waits or holds a slot, in the server's account and in both engines'."""
        found = self.metrics()
        names = ("antiphon_engine_requests", "antiphon_stage_running", "antiphon_stage_queue_depth")
        stages = [found[name, stage] for name in names for stage in STAGES]
        for name in ("num_requests_running", "num_requests_waiting"):
            stages += [found[engine_metric(name, stage)] for stage in STAGES]
        return not any([*stages, found["antiphon_speech_slots", "used"]])

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    def start(self) -> None:
        """Returns once it is ready. Raises AssertionError with its output otherwise."""
        began = time.monotonic()
        self.process = self.launch(self.command, self.environment, self.log)
        try:
            wait_until_ready(self)
        except BaseException:
            self.end()
            raise
        self.start_s = time.monotonic() - began
        self.tree()

    def renew(self) -> None:
        """Start it again if it has ended or its engines have died often: for tests that are repeated."""
        if self.process.poll() is None:
            metrics = self.metrics()
            deaths = [metrics.get(("antiphon_engine_restarts_total", stage), 0.0) for stage in STAGES]
            if max(deaths) <= MAX_DEATHS:
                return
            self.end()
        self.start()

    def end(self) -> None:
        """Last resort of a fixture: nothing of the server stays behind."""
        self.tree()
        for process in self.survivors():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(10)


def start_server(checkpoint: Path, log: Path, *flags: str, launch: Launch = spawned) -> RunningServer:
    """Returns once `/readyz` reports ready. Raises AssertionError with the server's output otherwise."""
    server = serving(checkpoint, log, *FLAGS, *flags)
    server.launch = launch
    server.start()
    return server


def serving(checkpoint: Path, log: Path, *flags: str) -> RunningServer:
    """Not started yet, and with no flags but these."""
    port = _free_port()
    command = (sys.executable, "-m", "antiphon_server", "serve", "--model", str(checkpoint))
    command += ("--port", str(port), *flags)
    return RunningServer(command, {**os.environ, **_QUIET}, port, log)


def becomes(condition: Callable[[], object], within_s: float, every_s: float = 0.02) -> bool:
    """Whether `condition` holds before the time is up."""
    patience = Patience(within_s)
    while not condition():
        if patience.is_over():
            return False
        time.sleep(every_s)
    return True


def terminate(server: RunningServer, within_s: float = 60.0) -> int:
    """SIGTERM; the exit code."""
    server.tree()
    server.process.send_signal(signal.SIGTERM)
    return server.process.wait(within_s)


def wait_until_ready(server: RunningServer) -> None:
    """AssertionError with the server's output if it ends or takes too long."""

    def ready() -> bool:
        assert server.process.poll() is None, server.said()
        with contextlib.suppress(httpx.TransportError):
            return server.get("/readyz").status_code == 200
        return False

    assert becomes(ready, READY_WITHIN_S, every_s=0.1), server.said()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
