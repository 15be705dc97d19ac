"""Client of the fork server: starts workers, waits for their exits, and replaces a fork server that died."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass

from antiphon_server.media.sandbox.fork_connection import ForkConnection, ForkServerDied
from antiphon_server.media.sandbox.fork_protocol import WorkerExit, WorkerOrder, WorkerSettings
from antiphon_server.media.sandbox.job import Job

_KILL_S = 5.0


@dataclass(frozen=True, slots=True)
class Worker:
    """A running worker of one fork server."""

    number: int
    connection: ForkConnection
    worker_exit: asyncio.Future[WorkerExit]

    async def wait_for_exit(self) -> int:
        """The exit code, negative for a signal. Raises OSError if it could not start, or ForkServerDied."""
        received = await asyncio.shield(self.worker_exit)
        if received.errno:
            raise OSError(received.errno, os.strerror(received.errno))
        return received.code


class ForkClient:
    """Belongs to one event loop. At most one fork server accepts jobs at a time."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._connection: ForkConnection | None = None
        self._last_number = 0
        self._starting = asyncio.Lock()

    async def start_worker(self, job: Job, files: Sequence[int]) -> Worker:
        """Starts a worker, and first a fork server if none is running.

        Raises InternalError if the fork server does not start, OSError if the machine is short of resources.
        """
        try:
            return await self._start_worker(job, files)
        except ForkServerDied:
            # It had died since the last job, which only sending shows.
            return await self._start_worker(job, files)

    async def end_worker(self, worker: Worker) -> None:
        """Kills the worker if it still runs, waits for its end and forgets it."""
        try:
            async with asyncio.timeout(_KILL_S):
                if not worker.worker_exit.done():
                    await worker.connection.kill_worker(worker.number)
                await asyncio.wait([worker.worker_exit])
        except (TimeoutError, OSError, ForkServerDied):
            # The worker cannot be ended alone: its whole fork server is killed, and no other one.
            await worker.connection.stop()
        finally:
            worker.connection.forget_worker(worker.number)

    async def close(self) -> None:
        """Ends the fork server and all its workers."""
        async with self._starting:
            if self._connection is not None:
                await self._connection.stop()
                self._connection = None

    async def _start_worker(self, job: Job, files: Sequence[int]) -> Worker:
        connection = await self._open_connection()
        self._last_number += 1
        order = WorkerOrder(self._last_number, job)
        return Worker(order.number, connection, await connection.start_worker(order, files))

    async def _open_connection(self) -> ForkConnection:
        async with self._starting:
            if self._connection is not None and not self._connection.is_open:
                await self._connection.stop()
                self._connection = None
            if self._connection is None:
                self._connection = await ForkConnection.start(self._settings)
            return self._connection
