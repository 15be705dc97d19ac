"""Pool of confined decoder processes: runs one job per process and kills it at its deadline.

A process per job keeps hostile files apart; forking it off a warm fork server takes milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import mmap
import os
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from dataclasses import dataclass

from antiphon_server.errors import InternalError, Overloaded, Unavailable
from antiphon_server.media.policy import MediaPolicy, flag
from antiphon_server.media.sandbox.fork_client import ForkClient, Worker
from antiphon_server.media.sandbox.fork_connection import ForkServerDied
from antiphon_server.media.sandbox.fork_protocol import LOG_BYTES, NOT_CONFINED, WorkerSettings
from antiphon_server.media.sandbox.job import (
    AudioJob,
    ChooseSize,
    Job,
    ProbeJob,
    VideoJob,
)
from antiphon_server.media.sandbox.layers import ADVICE, Layers
from antiphon_server.media.sandbox.memory_file import (
    fix_size,
    memory_file,
    read_text,
    seal_and_read,
    write_and_seal,
)
from antiphon_server.media.sandbox.pieces import Pieces, TakePiece, VideoPieces, answer_question

logger = logging.getLogger("antiphon.media")

_RETRY_AFTER_S = 2.0
_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC, errno.ENOBUFS}


class SandboxTooWeak(RuntimeError):
    """A required layer of the sandbox is missing; the message and the `hint` are for the operator."""

    def __init__(self, layers: Layers) -> None:
        missing = ", ".join(layers.missing_required)
        super().__init__(f"media decoders cannot be confined: not in force: {missing}")
        advice = "; ".join(ADVICE[layer] for layer in layers.missing_required)
        self.hint = (
            f"{advice}. {flag('allow_weak_sandbox')} serves without it; use it only for trusted clients"
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a job. `output`: a private writable buffer. `log`: text that never reaches clients."""

    succeeded: bool
    timed_out: bool
    output: bytearray | mmap.mmap
    log: bytes


class Sandbox:
    """Runs at most `decode_workers` decoders at a time."""

    def __init__(self, policy: MediaPolicy) -> None:
        self._policy = policy
        self._free_workers = asyncio.Semaphore(policy.decode_workers)
        settings = WorkerSettings(
            decode_s=policy.decode_s,
            memory_bytes=policy.decode_memory_bytes,
            allow_weak=policy.allow_weak_sandbox,
        )
        self._fork_client = ForkClient(settings)

    async def start(self) -> Layers:
        """Starts the fork server and probes the layers that confine a decoder.

        Raises SandboxTooWeak if a required layer is missing, InternalError if a decoder does not start.
        """
        outcome = await self.run_job(ProbeJob(), [])
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
        await self._fork_client.close()

    async def run_job(
        self,
        job: Job,
        data: Sequence[bytes],
        choose_size: ChooseSize | None = None,
        take_piece: TakePiece | None = None,
        take_frames: TakePiece | None = None,
    ) -> Outcome:
        """Runs one job in its own process. `data`: the pieces of its input. `choose_size` answers the worker.

        `take_piece` gets a copy of each piece of audio in its output, `take_frames` of each piece of frames;
        each postpones the deadline.

        Raises Overloaded if no decoder becomes free in time, Unavailable if the machine is short of
        resources, and what `choose_size` and `take_piece` raise. Cancelling kills the process.
        """
        async with self._free_worker():
            with _shortage_as_unavailable(), contextlib.ExitStack() as opened:
                log, source, output = (opened.enter_context(memory_file()) for _ in range(3))
                ours, theirs = map(opened.enter_context, _question_sockets())
                fix_size(log, LOG_BYTES)
                await asyncio.to_thread(write_and_seal, source, data)
                files = (log, source, output, theirs.fileno())
                worker = await self._fork_client.start_worker(job, files)
                theirs.close()
                try:
                    deadline = asyncio.timeout(self._policy.decode_s)
                    answering: Coroutine[None, None, object] | None = None
                    if isinstance(job, VideoJob) and choose_size and take_frames and take_piece:
                        pieces = VideoPieces(ours, output, job, choose_size, take_frames, take_piece)
                        answering = pieces.take_all(deadline)
                    elif isinstance(job, AudioJob) and take_piece:
                        answering = Pieces(ours, output, job, take_piece).take_all(deadline)
                    elif choose_size:
                        answering = answer_question(ours, choose_size)
                    code = await self._wait_for_worker(worker, answering, deadline)
                finally:
                    await asyncio.shield(self._fork_client.end_worker(worker))
                log_text = read_text(log, LOG_BYTES)
                if code == NOT_CONFINED:
                    layers = Layers.decode(log_text)
                    missing = ", ".join(layers.missing_required) if layers else "it does not say which"
                    logger.error("a media decoder refused to work without a required layer: %s", missing)
                    raise InternalError("a media decoder did not start")
                return Outcome(code == 0, code is None, seal_and_read(output), log_text)

    @contextlib.asynccontextmanager
    async def _free_worker(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._policy.decode_queue_s):
                await self._free_workers.acquire()
        except TimeoutError:
            raise Overloaded(
                "too much media is being decoded; try again", retry_after_s=_RETRY_AFTER_S
            ) from None
        try:
            yield
        finally:
            self._free_workers.release()

    async def _wait_for_worker(
        self, worker: Worker, answers: Coroutine[None, None, object] | None, deadline: asyncio.Timeout
    ) -> int | None:
        """The worker's exit code; None at the deadline."""
        answering = asyncio.create_task(answers) if answers else None
        ended = asyncio.create_task(worker.wait_for_exit())
        try:
            async with deadline:
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


def _question_sockets() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs


@contextlib.contextmanager
def _shortage_as_unavailable() -> Iterator[None]:
    """Turns a shortage of descriptors, memory or processes, or a dead fork server, into Unavailable."""
    try:
        yield
    except ForkServerDied:
        logger.warning("the media decoders died and are restarted")
        message = "media decoding was interrupted; try again"
    except OSError as error:
        if error.errno not in _SHORTAGES:
            raise
        logger.warning("no media decoder could be started: %s", os.strerror(error.errno or 0))
        message = "the server is short of files or memory for decoding media; try again"
    else:
        return
    raise Unavailable(message, retry_after_s=_RETRY_AFTER_S)
