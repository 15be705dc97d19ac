"""Decoder processes: started ahead, one job each, killed at their deadline.

In: a job and its input bytes. Out: what the process wrote, sealed so that nobody can change it any more.
A process per item keeps hostile files apart; starting ahead hides the interpreter's start from the request.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import math
import mmap
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from antiphon_server.errors import Overloaded, ServerFault
from antiphon_server.media.ffmpeg import THREADS
from antiphon_server.media.job import Job, encode
from antiphon_server.media.policy import MediaPolicy

logger = logging.getLogger(__name__)

_START_S = 20.0
_LOG_BYTES = 16_384
_COPY_BYTES = 1 << 20
_FROZEN = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended. `output` is a writable buffer of this process alone; `log` is never for clients."""

    succeeded: bool
    timed_out: bool
    output: bytearray | mmap.mmap
    log: bytes


@dataclass(slots=True)
class _Worker:
    process: asyncio.subprocess.Process
    control: socket.socket

    async def kill(self) -> None:
        """Ends the process and whatever shares its session, and waits until it is gone."""
        self.control.close()
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()


class Sandbox:
    """At most `decode_workers` decoders at work, and as many waiting ready."""

    def __init__(self, policy: MediaPolicy, program: Path) -> None:
        self._policy = policy
        self._program = program
        self._room = asyncio.Semaphore(policy.decode_workers)
        self._spares: list[_Worker] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._layers: str | None = None
        self._closed = False

    async def start(self) -> None:
        """Starts the spares. Raises ServerFault where a decoder does not come up."""
        starts = (self._spawn() for _ in range(self._policy.decode_workers))
        started = await asyncio.gather(*starts, return_exceptions=True)
        self._spares += [worker for worker in started if isinstance(worker, _Worker)]
        for failure in started:
            if isinstance(failure, BaseException):
                await self.close()
                raise failure

    async def close(self) -> None:
        """Kills the spares. Jobs are their callers' to cancel."""
        self._closed = True
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        while self._spares:
            await self._spares.pop().kill()

    async def run(self, job: Job, data: Sequence[bytes]) -> Outcome:
        """Runs one job in a process of its own. `data` is its input, joined.

        Raises Overloaded where no decoder is free in time. Cancelling kills the process.
        """
        async with self._slot():
            with contextlib.ExitStack() as opened:
                files = [opened.enter_context(_memory_file()) for _ in range(3)]
                log, source, output = files
                await asyncio.to_thread(_fill, source, data)
                worker = await self._send(job, files)
                try:
                    timed_out = await self._finish(worker)
                finally:
                    await asyncio.shield(worker.kill())
                    self._refill()
                succeeded = worker.process.returncode == 0 and not timed_out
                return Outcome(succeeded, timed_out, _take(output), os.pread(log, _LOG_BYTES, 0))

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._policy.decode_queue_s):
                await self._room.acquire()
        except TimeoutError:
            raise Overloaded("too much media is being decoded; try again", retry_after_s=2.0) from None
        try:
            yield
        finally:
            self._room.release()

    async def _finish(self, worker: _Worker) -> bool:
        try:
            async with asyncio.timeout(self._policy.decode_s):
                await worker.process.wait()
        except TimeoutError:
            return True
        return False

    async def _send(self, job: Job, files: list[int]) -> _Worker:
        """Hands the job to a spare; one that has died meanwhile is passed over."""
        message = encode(job)
        while True:
            worker = self._spares.pop() if self._spares else await self._spawn()
            try:
                socket.send_fds(worker.control, [message], files)
                return worker
            except (BrokenPipeError, ConnectionError):
                await worker.kill()

    def _refill(self) -> None:
        if self._closed or len(self._spares) + len(self._starting) >= self._policy.decode_workers:
            return
        task = asyncio.create_task(self._add_spare())
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _add_spare(self) -> None:
        try:
            self._spares.append(await self._spawn())
        except (OSError, ServerFault):
            logger.exception("a decoder did not start; the next request tries again")

    async def _spawn(self) -> _Worker:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        limits = (str(math.ceil(self._policy.decode_s * THREADS)), str(self._policy.decode_memory_bytes))
        module = ("-I", "-m", "antiphon_server.media.decode_worker")
        # The worker's end is its own after the start; ours is closed with it, or right away if there is none.
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            process = await asyncio.create_subprocess_exec(
                sys.executable, *module, str(theirs.fileno()), *limits, str(self._program),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL, env={"LC_ALL": "C"}, start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )  # fmt: skip
            undo.pop_all()
        ours.setblocking(False)
        worker = _Worker(process, ours)
        try:
            async with asyncio.timeout(_START_S):
                layers = await asyncio.get_running_loop().sock_recv(ours, 1024)
        except (TimeoutError, OSError):
            layers = b""
        except asyncio.CancelledError:
            await worker.kill()
            raise
        if not layers:
            await worker.kill()
            raise ServerFault("a media decoder did not start")
        self._tell_layers(layers.decode())
        return worker

    def _tell_layers(self, layers: str) -> None:
        if layers != self._layers:
            self._layers = layers
            logger.info("media decoders are confined by: %s", layers)


@contextlib.contextmanager
def _memory_file() -> Iterator[int]:
    """An unnamed file in memory that can be sealed."""
    descriptor = os.memfd_create("media", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _fill(descriptor: int, data: Sequence[bytes]) -> None:
    for piece in data:
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _FROZEN)


def _take(descriptor: int) -> bytearray | mmap.mmap:
    """What was written. Large results are mapped, copy-on-write: their memory returns as soon as they go."""
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    size = os.fstat(descriptor).st_size
    if size <= _COPY_BYTES:
        return bytearray(os.pread(descriptor, size, 0))
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _FROZEN)
    return mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
