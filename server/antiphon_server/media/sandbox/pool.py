"""Decoder processes: confined, one job each, killed at their deadline.

In: a job and its input bytes. Out: what the process wrote, sealed so that nobody can change it any more.
A process per item keeps hostile files apart; forking off a warm one makes it cheap.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import mmap
import os
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from antiphon_server.errors import InternalError, Overloaded, Unavailable
from antiphon_server.media.policy import MediaPolicy, flag
from antiphon_server.media.sandbox.fork_client import ForkClient, ForkServerDied
from antiphon_server.media.sandbox.fork_protocol import LOG_BYTES, NOT_CONFINED, WorkerSettings
from antiphon_server.media.sandbox.job import Ask, Job, ProbeJob, decode_found, encode
from antiphon_server.media.sandbox.layers import ADVICE, Layers
from antiphon_server.media.sandbox.memory_file import allot, fill, memory_file, take, written

logger = logging.getLogger("antiphon.media")

_QUESTION_BYTES = 1024
_TRY_AGAIN_S = 2.0
_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC, errno.ENOBUFS}


class SandboxTooWeak(RuntimeError):
    """A required layer of the sandbox is missing; the message and the `hint` are for the operator."""

    def __init__(self, layers: Layers) -> None:
        missing = ", ".join(layers.missing_required)
        super().__init__(f"media decoders cannot be confined: not in force: {missing}")
        advice = "; ".join(ADVICE[layer] for layer in layers.missing_required)
        self.hint = f"{advice}. {flag('allow_weak_sandbox')} serves without, where every client is trusted"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended. `output` is a writable buffer of this process alone; `log` is never for clients."""

    succeeded: bool
    timed_out: bool
    output: bytearray | mmap.mmap
    log: bytes


class Sandbox:
    """At most `decode_workers` decoders at work."""

    def __init__(self, policy: MediaPolicy) -> None:
        self._policy = policy
        self._room = asyncio.Semaphore(policy.decode_workers)
        settings = WorkerSettings(
            decode_s=policy.decode_s,
            memory_bytes=policy.decode_memory_bytes,
            allow_weak=policy.allow_weak_sandbox,
        )
        self._decoders = ForkClient(settings)

    async def start(self) -> Layers:
        """Starts the decoders and looks at what confines them.

        Raises SandboxTooWeak if a required layer is missing, InternalError if a decoder does not start.
        """
        outcome = await self.run(ProbeJob(), [])
        layers = Layers.decode(outcome.log) if outcome.succeeded else None
        if layers is None:
            await self.close()
            raise InternalError("a media decoder did not start")
        if layers.missing_required and not self._policy.allow_weak_sandbox:
            await self.close()
            raise SandboxTooWeak(layers)
        return layers

    async def close(self) -> None:
        """Ends all decoders."""
        await self._decoders.close()

    async def run(self, job: Job, data: Sequence[bytes], answer: Ask | None = None) -> Outcome:
        """Runs one job in a process of its own. `data` is its input, joined. `answer`: what the worker asks.

        Raises Overloaded where no decoder is free in time, Unavailable where the machine has no room for one.
        Cancelling kills the process.
        """
        async with self._slot():
            with _shortage_is_temporary(), contextlib.ExitStack() as opened:
                log, source, output = (opened.enter_context(memory_file()) for _ in range(3))
                ours, theirs = map(opened.enter_context, _question_sockets())
                allot(log, LOG_BYTES)
                await asyncio.to_thread(fill, source, data)
                number = await self._decoders.launch(job, (log, source, output, theirs.fileno()))
                theirs.close()
                try:
                    code = await self._finish(number, ours, answer)
                finally:
                    await asyncio.shield(self._decoders.kill(number))
                said = written(log, LOG_BYTES)
                if code == NOT_CONFINED:
                    layers = Layers.decode(said)
                    missing = ", ".join(layers.missing_required) if layers else "it does not say which"
                    logger.error("a media decoder refused to work without a required layer: %s", missing)
                    raise InternalError("a media decoder did not start")
                return Outcome(code == 0, code is None, take(output), said)

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._policy.decode_queue_s):
                await self._room.acquire()
        except TimeoutError:
            raise Overloaded(
                "too much media is being decoded; try again", retry_after_s=_TRY_AGAIN_S
            ) from None
        try:
            yield
        finally:
            self._room.release()

    async def _finish(self, number: int, asked: socket.socket, answer: Ask | None) -> int | None:
        """The worker's exit code; None at the deadline. What `answer` raises ends the job."""
        answering = asyncio.create_task(_answer(asked, answer)) if answer else None
        ended = asyncio.create_task(self._decoders.ended(number))
        try:
            async with asyncio.timeout(self._policy.decode_s):
                if answering is not None:
                    await asyncio.wait({answering, ended}, return_when=asyncio.FIRST_COMPLETED)
                    if answering.done():
                        answering.result()
                return await ended
        except TimeoutError:
            return None
        finally:
            tasks = [task for task in (answering, ended) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _answer(asked: socket.socket, answer: Ask) -> None:
    """One question and its answer. A worker that asks what is no question waits until its deadline."""
    loop = asyncio.get_running_loop()
    found = decode_found(await loop.sock_recv(asked, _QUESTION_BYTES))
    if found is not None:
        size = encode(answer(found))
        # A worker that has ended meanwhile is known by its exit code.
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(asked, size)


def _question_sockets() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs


@contextlib.contextmanager
def _shortage_is_temporary() -> Iterator[None]:
    """A shortage of descriptors, memory or processes, or a dead fork server, is not the request's fault."""
    try:
        yield
    except ForkServerDied:
        logger.warning("the media decoders died, and are started again")
        message = "media decoding was interrupted; try again"
    except OSError as error:
        if error.errno not in _SHORTAGES:
            raise
        logger.warning("no media decoder could be started: %s", os.strerror(error.errno or 0))
        message = "the server is short of files or memory for decoding media; try again"
    else:
        return
    raise Unavailable(message, retry_after_s=_TRY_AGAIN_S)
