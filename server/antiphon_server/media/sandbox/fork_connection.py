"""The server's connection to one running fork server process: sends orders and receives worker exits.

A connection belongs to exactly one process, so that stopping it never affects a fork server started later.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict

from antiphon_server.errors import InternalError
from antiphon_server.media.sandbox.confinement import ServerIdentity
from antiphon_server.media.sandbox.fork_protocol import (
    LOG_BYTES,
    MESSAGE_BYTES,
    READY,
    WorkerExit,
    WorkerOrder,
    WorkerSettings,
)
from antiphon_server.media.sandbox.memory_file import fix_size, memory_file, read_text

logger = logging.getLogger("antiphon.media")

_START_S = 20.0
_SEND_S = 5.0
_SEND_RETRY_S = 0.01
_MODULE = ("-I", "-m", "antiphon_server.media.workers.fork_server")
# One thread: a process with several threads must not fork.
_ENVIRONMENT = {"LC_ALL": "C", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class ForkServerDied(Exception):
    """The fork server has died, and its workers with it."""


class ForkConnection:
    """One fork server. `start` it once; after `stop`, or when it dies, every call raises ForkServerDied."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self._process = process
        self._control = control
        self._exits: dict[int, asyncio.Future[WorkerExit]] = {}
        self.is_open = True

    @classmethod
    async def start(cls, settings: WorkerSettings) -> ForkConnection:
        """Starts a process and waits until it is ready. Raises InternalError if it fails, or OSError."""
        with memory_file() as errors:
            fix_size(errors, LOG_BYTES)
            connection = await cls._spawn(settings, errors)
            try:
                is_ready = await connection._wait_until_ready()
            except asyncio.CancelledError:
                await connection.stop()
                raise
            if not is_ready:
                await connection.stop()
                lines = read_text(errors, LOG_BYTES).decode(errors="replace").strip().splitlines()
                reason = lines[-1] if lines else "they gave no reason"
                logger.error("the media decoders did not start: %s", reason)
                raise InternalError("a media decoder did not start")
        asyncio.get_running_loop().add_reader(connection._control.fileno(), connection._receive_exits)
        return connection

    @classmethod
    async def _spawn(cls, settings: WorkerSettings, errors: int) -> ForkConnection:
        """`errors`: the file that is the process's standard error until it is ready."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # The child inherits `theirs`. `ours` is closed here only if there is no child.
        with theirs, contextlib.ExitStack() as on_failure:
            on_failure.callback(ours.close)
            arguments = (json.dumps(asdict(ServerIdentity.current())), json.dumps(asdict(settings)))
            nothing = asyncio.subprocess.DEVNULL
            process = await asyncio.create_subprocess_exec(
                sys.executable, *_MODULE, str(theirs.fileno()), *arguments,
                stdin=nothing, stdout=nothing, stderr=errors, env=_ENVIRONMENT,
                start_new_session=True, pass_fds=(theirs.fileno(),),
            )  # fmt: skip
            on_failure.pop_all()
        ours.setblocking(False)
        return cls(process, ours)

    async def _wait_until_ready(self) -> bool:
        try:
            async with asyncio.timeout(_START_S):
                return await asyncio.get_running_loop().sock_recv(self._control, MESSAGE_BYTES) == READY
        except (TimeoutError, OSError):
            return False

    async def start_worker(self, order: WorkerOrder, files: Sequence[int]) -> asyncio.Future[WorkerExit]:
        """Orders a worker with the descriptors `files`. The future gets its exit, or ForkServerDied."""
        worker_exit = asyncio.get_running_loop().create_future()
        self._exits[order.number] = worker_exit
        try:
            await self._send_order(order, files)
        except BaseException:
            self.forget_worker(order.number)
            raise
        return worker_exit

    async def kill_worker(self, number: int) -> None:
        """Orders the worker's end. Its exit arrives at the future of `start_worker`."""
        await self._send_order(WorkerOrder(number), ())

    def forget_worker(self, number: int) -> None:
        """Drops the worker's future; an exit that arrives later is ignored."""
        worker_exit = self._exits.pop(number)
        if not worker_exit.done():
            worker_exit.cancel()
        elif not worker_exit.cancelled():
            # Marks the exception as seen, if there is one.
            worker_exit.exception()

    async def stop(self) -> None:
        """Kills the process, if it runs, and waits for its end; the kernel ends its workers with it."""
        self._disconnect()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def _send_order(self, order: WorkerOrder, files: Sequence[int]) -> None:
        message = order.encode()
        async with asyncio.timeout(_SEND_S):
            while True:
                if not self.is_open:
                    raise ForkServerDied
                try:
                    socket.send_fds(self._control, [message], files)
                    return
                except BlockingIOError:
                    await asyncio.sleep(_SEND_RETRY_S)
                except ConnectionError:
                    self._disconnect()

    def _disconnect(self) -> None:
        if not self.is_open:
            return
        self.is_open = False
        asyncio.get_running_loop().remove_reader(self._control.fileno())
        self._control.close()
        for worker_exit in self._exits.values():
            if not worker_exit.done():
                worker_exit.set_exception(ForkServerDied())

    def _receive_exits(self) -> None:
        while self.is_open:
            try:
                message = self._control.recv(MESSAGE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._disconnect()
                return
            received = WorkerExit.decode(message)
            waiting = self._exits.get(received.number)
            if waiting is not None and not waiting.done():
                waiting.set_result(received)
