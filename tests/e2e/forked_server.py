"""A server that is forked from a process which has imported it, and so are its engines.

It serves as the command does, with arguments, environment, output and session of its own.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

from tests.warm_start import ENVIRONMENT, IMPORTED, WARM, forks_for_spawned


class ForkedServer:
    """What the tests use of `subprocess.Popen`."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process
        self.pid = process.pid or 0

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired("antiphon serve", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def forked(command: tuple[str, ...], environment: dict[str, str], log: Path) -> ForkedServer:
    """`command`: as it would be spawned. Returns once the process runs."""
    arguments = command[command.index("antiphon_server") + 1 :]
    WARM.set_forkserver_preload(IMPORTED)
    process = WARM.Process(target=_serve, args=(arguments, environment, log), name="MainProcess")
    with mock.patch.dict(os.environ, ENVIRONMENT | {"OMP_NUM_THREADS": "1"}):
        process.start()
    return ForkedServer(process)


def _serve(arguments: tuple[str, ...], environment: dict[str, str], log: Path) -> None:
    from antiphon_server.cli.main import main

    os.setsid()
    with log.open("wb") as out, Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    sys.argv = ["antiphon", *arguments]
    # As Python does at its start.
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.modules.pop("sitecustomize", None)
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module("sitecustomize")
    _fork_engines_from_here()
    with forks_for_spawned():
        raise SystemExit(main(arguments))


def _fork_engines_from_here() -> None:
    """Engines are children of a child of this process, so that they belong to this server alone."""
    with socket.socket(socket.AF_UNIX) as listener:
        address = f"\0antiphon-engines-{os.getpid()}"
        listener.bind(address)
        listener.listen()
        alive, keeps_alive = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(keeps_alive)
            try:
                forkserver.main(listener.detach(), alive, [])
            finally:
                os._exit(0)
        os.close(alive)
    server = forkserver._forkserver  # type: ignore[attr-defined]
    server._forkserver_address, server._forkserver_alive_fd = address, keeps_alive
    server._forkserver_pid = child
