"""The server's end of the fork server: starts it, asks it for workers, and learns of their ends.

In: jobs with their descriptors. Out: how each worker ended. The workers of a fork server that died are dead
too; the next job starts another.
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
from antiphon_server.media.sandbox.confinement import Origin
from antiphon_server.media.sandbox.fork_protocol import (
    LOG_BYTES,
    MESSAGE_BYTES,
    READY,
    End,
    Order,
    WorkerSettings,
)
from antiphon_server.media.sandbox.job import Job
from antiphon_server.media.sandbox.memory_file import allot, memory_file, written

logger = logging.getLogger("antiphon.media")

_START_S = 20.0
_SEND_S = 5.0
_SEND_AGAIN_S = 0.01
_GONE_S = 5.0
_MODULE = ("-I", "-m", "antiphon_server.media.workers.fork_server")
# One thread: a process with several must not fork.
_ENVIRONMENT = {"LC_ALL": "C", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class ForkServerDied(Exception):
    """Its workers died with it, whatever they were doing."""


class ForkClient:
    """Belongs to one event loop."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None
        self._ends: dict[int, asyncio.Future[End]] = {}
        self._last_number = 0
        self._starting = asyncio.Lock()

    async def launch(self, job: Job, files: Sequence[int]) -> int:
        """Starts a worker, and first the fork server where there is none. Returns the worker's number.

        Raises InternalError if the fork server does not come up, OSError if the machine has no room for it.
        """
        try:
            return await self._launch(job, files)
        except ForkServerDied:
            # It had died since the last job, unnoticed.
            return await self._launch(job, files)

    async def ended(self, number: int) -> int:
        """Waits for a worker's end. Returns its exit code, negative for a signal.

        Raises OSError where it could not be started, ForkServerDied where the fork server died first.
        """
        end = await asyncio.shield(self._ends[number])
        if end.errno:
            raise OSError(end.errno, os.strerror(end.errno))
        return end.code

    async def kill(self, number: int) -> None:
        """Ends a worker, if it has not ended, and waits until it is gone."""
        end = self._ends[number]
        try:
            async with asyncio.timeout(_GONE_S):
                if not end.done():
                    await self._send(Order(number), ())
                await asyncio.wait([end])
        except (TimeoutError, OSError, ForkServerDied):
            # Whatever it hangs in: with the fork server all go.
            await self._stop()
        finally:
            del self._ends[number]
            if end.done():
                end.exception()

    async def close(self) -> None:
        async with self._starting:
            await self._stop()

    async def _launch(self, job: Job, files: Sequence[int]) -> int:
        async with self._starting:
            if self._control is None:
                await self._start()
        self._last_number += 1
        number = self._last_number
        self._ends[number] = asyncio.get_running_loop().create_future()
        try:
            await self._send(Order(number, job), files)
        except BaseException:
            self._ends.pop(number).cancel()
            raise
        return number

    async def _start(self) -> None:
        await self._stop()
        with memory_file() as complaint:
            allot(complaint, LOG_BYTES)
            await self._spawn(complaint)
            try:
                ready = await self._is_ready()
            except asyncio.CancelledError:
                await self._stop()
                raise
            if not ready or self._control is None:
                await self._stop()
                lines = written(complaint, LOG_BYTES).decode(errors="replace").strip().splitlines()
                logger.error("the media decoders did not start: %s", lines[-1] if lines else "no word of why")
                raise InternalError("a media decoder did not start")
        asyncio.get_running_loop().add_reader(self._control.fileno(), self._receive)

    async def _spawn(self, complaint: int) -> None:
        """`complaint` becomes its standard error, until it is ready."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # After the start the other end is the child's own. Ours is closed here if there is no child.
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            described = (json.dumps(asdict(Origin.here())), json.dumps(asdict(self._settings)))
            nothing = asyncio.subprocess.DEVNULL
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *_MODULE, str(theirs.fileno()), *described,
                stdin=nothing, stdout=nothing, stderr=complaint, env=_ENVIRONMENT,
                start_new_session=True, pass_fds=(theirs.fileno(),),
            )  # fmt: skip
            undo.pop_all()
        ours.setblocking(False)
        self._control = ours

    async def _is_ready(self) -> bool:
        if self._control is None:
            return False
        try:
            async with asyncio.timeout(_START_S):
                return await asyncio.get_running_loop().sock_recv(self._control, MESSAGE_BYTES) == READY
        except (TimeoutError, OSError):
            return False

    async def _stop(self) -> None:
        """Ends the fork server; the kernel ends its workers with it."""
        process, self._process = self._process, None
        self._disconnect()
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

    def _disconnect(self) -> None:
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._control.close()
            self._control = None
        for end in self._ends.values():
            if not end.done():
                end.set_exception(ForkServerDied())

    async def _send(self, order: Order, files: Sequence[int]) -> None:
        message = order.encode()
        async with asyncio.timeout(_SEND_S):
            while True:
                if self._control is None:
                    raise ForkServerDied
                try:
                    socket.send_fds(self._control, [message], files)
                    return
                except BlockingIOError:
                    await asyncio.sleep(_SEND_AGAIN_S)
                except (BrokenPipeError, ConnectionError):
                    await self._stop()

    def _receive(self) -> None:
        while self._control is not None:
            try:
                message = self._control.recv(MESSAGE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._disconnect()
                return
            end = End.decode(message)
            waiting = self._ends.get(end.number)
            if waiting is not None and not waiting.done():
                waiting.set_result(end)
