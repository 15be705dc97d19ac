"""`vllm serve` and `antiphon serve` on one checkpoint, started side by side for a comparison of text."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
import psutil  # type: ignore[import-untyped]

Mode = Literal["eager", "compiled"]
Stages = Literal["thinker", "both"]

MODEL = "omni"
_READY_WITHIN_S = 420.0
_CONTEXT = "4096"


@dataclass(frozen=True, slots=True)
class Server:
    """`ready_s`: from the command to the first successful answer of its health check."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    ready_s: float

    def processes(self) -> list[psutil.Process]:
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def cpu_s(self) -> float:
        """CPU seconds that its processes have used so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self.processes())


@contextmanager
def vllm_server(checkpoint: Path, log: Path, mode: Mode) -> Iterator[Server]:
    """vLLM's own server with its own defaults, apart from the context and the data type.

    Its module, since the command `vllm` does not start if the distribution has another name.
    """
    port = _free_port()
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint),
        "--served-model-name", MODEL, "--dtype", "float32", "--max-model-len", _CONTEXT,
        "--host", "127.0.0.1", "--port", str(port), "--disable-log-stats",
    ]  # fmt: skip
    if mode == "eager":
        command.append("--enforce-eager")
    # Our plugin would register our models under the names of vLLM's.
    env = {"VLLM_PLUGINS": "", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "2"} | _cache(log)
    with _running("vllm", command, env, port, "/health", log) as server:
        yield server


@contextmanager
def antiphon_server(checkpoint: Path, log: Path, mode: Mode, stages: Stages) -> Iterator[Server]:
    """Ours with its own defaults, as above. `compiled`: after `antiphon compile`."""
    port = _free_port()
    settings = [str(checkpoint), "--served-model-name", MODEL, "--dtype", "float32"]
    settings += ["--max-model-len", _CONTEXT, *(["--no-engine.speech"] if stages == "thinker" else [])]
    antiphon = [sys.executable, "-m", "antiphon_server"]
    if mode == "compiled":
        env = {**os.environ, **_cache(log)}
        subprocess.run([*antiphon, "compile", *settings], check=True, timeout=_READY_WITHIN_S, env=env)
    command = [*antiphon, "serve", *settings, "--port", str(port)]
    with _running("antiphon", command, _cache(log), port, "/readyz", log) as server:
        yield server


def _cache(log: Path) -> dict[str, str]:
    """vLLM's cache of compiled models beside the logs, so that a run leaves none in the user's."""
    return {"VLLM_CACHE_ROOT": str(log.parent / "cache")}


@contextmanager
def _running(
    name: str, command: list[str], env: dict[str, str], port: int, health: str, log: Path
) -> Iterator[Server]:
    url, began = f"http://127.0.0.1:{port}", time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            env={**os.environ, **env}, start_new_session=True,
        )  # fmt: skip
    try:
        _wait_until_ready(process, url + health, log)
        yield Server(name, url, process, time.monotonic() - began)
    finally:
        _end(process)


def _wait_until_ready(process: subprocess.Popen[bytes], health: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if httpx.get(health, timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"the server is not ready:\n{log.read_text(errors='replace')[-4000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the server; after ten seconds SIGKILL to whatever is left of its session."""
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
