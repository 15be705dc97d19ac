"""Decoder processes: limits, deadlines, restarts; the death of one fails only its own request."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import resource
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest
import pytest_asyncio
from PIL import Image

from antiphon_server.errors import ApiError, BadRequest, Overloaded, Unavailable
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox import fork_client
from antiphon_server.media.sandbox.fork_client import Worker
from antiphon_server.media.sandbox.fork_protocol import LOG_BYTES, WorkerOrder
from antiphon_server.media.sandbox.job import AudioJob, Dimensions, ImageJob, Size
from antiphon_server.media.sandbox.memory_file import fix_size, memory_file
from antiphon_server.media.sandbox.pool import Sandbox
from tests.machine import slowness
from tests.server.exchange import becomes_true
from tests.server.media.media_samples import (
    children_of,
    ffmpeg,
    fork_servers,
    image_file,
    part,
    running_decoders,
    tone,
    until_a_decoder_works,
    wav,
)

DEADLINE_S, PATIENT_S = 2.0, 120.0
PICTURE = image_file(Image.new("RGB", (32, 32)), "PNG")
SOUND = wav(np.zeros((1, 48_000)), 48_000)


def slow_job() -> tuple[ImageJob, list[bytes]]:
    """A job that never ends, because its question for the size of the image is not answered."""
    return ImageJob((len(PICTURE),), ("PNG",), 1 << 20, 1 << 20, 2.0), [PICTURE]


def short_job(output_bytes: int = 1 << 20) -> tuple[AudioJob, list[bytes]]:
    return AudioJob("wav", ("pcm_s16le",), 1 << 20, 1 << 20, output_bytes), [SOUND]


def own_fork_server() -> psutil.Process:
    """The fork server of the test's own sandbox: the youngest, not that of the session's loader."""
    return fork_servers()[-1]


@contextlib.contextmanager
def no_more_descriptors(spare: int = 0) -> Iterator[None]:
    """Limits this process to `spare` further open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.open("/dev/null", os.O_RDONLY)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe + spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.asynccontextmanager
async def running_sandbox(decode_s: float) -> AsyncIterator[Sandbox]:
    sandbox = Sandbox(MediaPolicy(decode_s=decode_s, decode_workers=2, decode_queue_s=0.5))
    await sandbox.start()
    yield sandbox
    await sandbox.close()


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """No job reaches its deadline, however busy the machine is."""
    async with running_sandbox(PATIENT_S) as sandbox:
        yield sandbox


@pytest_asyncio.fixture
async def hasty() -> AsyncIterator[Sandbox]:
    """Jobs that never end are ended soon."""
    async with running_sandbox(DEADLINE_S) as sandbox:
        yield sandbox


async def test_an_output_cannot_grow_past_its_cap(sandbox: Sandbox) -> None:
    outcome = await sandbox.run_job(*short_job(output_bytes=40_000))
    assert not outcome.succeeded
    assert len(outcome.output) == 40_000


async def test_a_decoder_is_killed_at_its_deadline(hasty: Sandbox) -> None:
    started = time.monotonic()
    outcome = await hasty.run_job(*slow_job())
    assert outcome.timed_out
    assert time.monotonic() - started < 2 * DEADLINE_S * slowness()


async def test_a_job_without_a_free_decoder_in_time_is_overload_with_retry_after(hasty: Sandbox) -> None:
    outcomes = await asyncio.gather(*(hasty.run_job(*slow_job()) for _ in range(3)), return_exceptions=True)
    (refused,) = (outcome for outcome in outcomes if isinstance(outcome, Exception))
    assert isinstance(refused, Overloaded)
    assert refused.retry_after_s


async def test_a_cancelled_job_leaves_no_process(sandbox: Sandbox) -> None:
    job = asyncio.create_task(sandbox.run_job(*slow_job()))
    busy = await until_a_decoder_works()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert not any(psutil.pid_exists(pid) for pid in busy)


async def test_a_decoder_leaves_the_cores_to_processes_with_a_deadline(sandbox: Sandbox) -> None:
    job = asyncio.create_task(sandbox.run_job(*slow_job()))
    (decoder,) = await until_a_decoder_works()
    server = os.getpriority(os.PRIO_PROCESS, own_fork_server().pid)
    for _ in range(3_000):
        niceness = os.getpriority(os.PRIO_PROCESS, decoder)
        if niceness > server:
            break
        await asyncio.sleep(0.02)
    assert niceness == min(server + 5, 19)
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)


async def test_decoders_are_started_again_when_they_died(sandbox: Sandbox) -> None:
    server = own_fork_server()
    running = asyncio.create_task(sandbox.run_job(*slow_job()))
    await until_a_decoder_works()
    dead_or_dying = server.children()
    server.kill()
    with pytest.raises(Unavailable) as refusal:
        await running
    assert refusal.value.retry_after_s
    assert (await sandbox.run_job(*short_job())).succeeded
    _, alive = await asyncio.to_thread(psutil.wait_procs, dead_or_dying, timeout=60)
    assert not alive


async def test_a_fork_server_that_died_unnoticed_is_replaced_within_the_request(sandbox: Sandbox) -> None:
    server = own_fork_server()
    server.kill()
    server.wait(60)
    assert (await sandbox.run_job(*short_job())).succeeded


async def test_a_suspended_fork_server_does_not_block_a_request(
    hasty: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fork_client, "_KILL_S", 0.2)
    server = own_fork_server()
    server.suspend()
    outcome = await hasty.run_job(*short_job())
    assert outcome.timed_out
    assert not server.is_running()
    hasty._policy = hasty._policy.model_copy(update={"decode_s": PATIENT_S})
    assert (await hasty.run_job(*short_job())).succeeded


async def test_stopping_a_fork_server_does_not_stop_the_one_that_starts_meanwhile(sandbox: Sandbox) -> None:
    """A job waits to send its kill order to a suspended fork server, which is stopped; another job starts."""
    job = asyncio.create_task(sandbox.run_job(*slow_job()))
    await until_a_decoder_works()
    first = sandbox._fork_client._connection
    assert first is not None
    own_fork_server().suspend()
    with contextlib.suppress(BlockingIOError):
        while True:
            first._control.send(WorkerOrder(0).encode())
    job.cancel()
    await asyncio.sleep(0.05)
    stopping = asyncio.create_task(first.stop())
    assert (await sandbox.run_job(*short_job())).succeeded
    await stopping
    with pytest.raises(asyncio.CancelledError):
        await job


async def test_workers_are_forked_off_one_thread(sandbox: Sandbox) -> None:
    server = own_fork_server()
    assert server.num_threads() == 1


async def test_a_log_cannot_grow_past_its_size(sandbox: Sandbox) -> None:
    """A decoder that fails says why, in a file that the server has sized."""
    outcome = await sandbox.run_job(*short_job(output_bytes=40_000))
    assert b"OSError" in outcome.log
    assert len(outcome.log) <= LOG_BYTES
    with memory_file() as log:
        fix_size(log, LOG_BYTES)
        assert os.write(log, bytes(2 * LOG_BYTES)) == LOG_BYTES
        with pytest.raises(PermissionError):
            os.write(log, b"more")


async def test_a_shortage_of_descriptors_is_temporary(sandbox: Sandbox) -> None:
    assert (await sandbox.run_job(*short_job())).succeeded
    with no_more_descriptors():
        with pytest.raises(Unavailable) as refusal:
            await sandbox.run_job(*short_job())
        assert refusal.value.retry_after_s
    assert (await sandbox.run_job(*short_job())).succeeded


async def test_a_shortage_of_descriptors_does_not_end_the_restart_of_decoders(sandbox: Sandbox) -> None:
    server = own_fork_server()
    server.kill()
    server.wait(60)
    with no_more_descriptors(spare=4), pytest.raises(Unavailable):
        await sandbox.run_job(*short_job())
    assert (await sandbox.run_job(*short_job())).succeeded


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOMEM, errno.EAGAIN])
async def test_a_worker_that_cannot_be_forked_is_a_shortage(
    sandbox: Sandbox, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait_for_exit(_: Worker) -> int:
        raise OSError(code, "no process")

    monkeypatch.setattr(Worker, "wait_for_exit", wait_for_exit)
    with pytest.raises(Unavailable):
        await sandbox.run_job(*short_job())


async def test_an_error_while_choosing_the_size_ends_the_job(sandbox: Sandbox) -> None:
    def refuse(found: Dimensions) -> Size:
        assert (found.height, found.width) == (32, 32)
        raise Overloaded("no room")

    with pytest.raises(Overloaded, match="no room"):
        await sandbox.run_job(*slow_job(), refuse)
    assert not running_decoders()


async def test_a_decoder_that_dies_before_its_answer_is_only_a_failed_job(sandbox: Sandbox) -> None:
    def answer_late(found: Dimensions) -> Size:
        for worker in map(psutil.Process, running_decoders()):
            worker.kill()
            worker.wait(60)
        return Size(found.height, found.width)

    outcome = await sandbox.run_job(*slow_job(), answer_late)
    assert not outcome.succeeded


async def test_a_decoder_uses_the_size_that_the_server_chooses(sandbox: Sandbox) -> None:
    outcome = await sandbox.run_job(*slow_job(), lambda found: Size(found.height // 2, found.width))
    assert outcome.succeeded
    assert len(outcome.output) == 16 * 32 * 3


def test_decoders_die_with_the_server() -> None:
    script = (
        "import asyncio, os, psutil, signal\n"
        "from antiphon_server.media.sandbox.pool import Sandbox\n"
        "from antiphon_server.media.policy import MediaPolicy\n"
        "from antiphon_server.media.sandbox.job import ImageJob\n"
        "async def main():\n"
        "    sandbox = Sandbox(MediaPolicy())\n"
        "    await sandbox.start()\n"
        f"    asyncio.create_task(sandbox.run_job(*{slow_job()!r}))\n"
        "    children = []\n"
        "    while len(children) < 2:\n"
        "        await asyncio.sleep(0.02)\n"
        "        children = psutil.Process().children(recursive=True)\n"
        "    print(*(child.pid for child in children), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=240, check=False
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    pids = {int(word) for word in ran.stdout.split()}
    assert len(pids) >= 2
    deadline = time.monotonic() + 60
    while any(map(_is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(_is_running, pids))


def _is_running(pid: int) -> bool:
    try:
        return "antiphon" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


@pytest.mark.promise("R9")
async def test_killed_decoders_fail_their_own_requests_only(loader: MediaLoader) -> None:
    """Kill -9 and SIGSEGV at random under parallel load; afterwards everything works."""
    lasting = ffmpeg("-i", "in.wav", suffix="flac", files={"in.wav": wav(tone(30, 48_000)[None], 48_000)})
    killed = 0

    async def kill_some() -> None:
        nonlocal killed
        servers = [server.pid for server in fork_servers()]
        while True:
            await asyncio.sleep(0.02)
            for pid in [worker for server in servers for worker in children_of(server)][:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if killed % 2 else signal.SIGSEGV)
                    killed += 1

    killer = asyncio.create_task(kill_some())
    answers: list[Any] = []
    async with asyncio.timeout(120):
        while killed <= 5:
            assert not killer.done(), killer.exception()
            loads = (loader.load([part("audio", lasting)]) for _ in range(10))
            answers += await asyncio.gather(*loads, return_exceptions=True)
    killer.cancel()
    for answer in answers:
        if isinstance(answer, BaseException):
            assert isinstance(answer, ApiError)
        else:
            assert len(answer.audios[0].samples) == 30 * 16_000
    assert sum(isinstance(answer, ApiError) for answer in answers) > 1
    after = await loader.load([part("audio", lasting)])
    assert len(after.audios[0].samples) == 30 * 16_000


async def test_the_server_does_not_grow(loader: MediaLoader) -> None:
    """Measured by allocations, because the size of a long test session's process changes by itself."""
    data = wav(np.zeros((2, 48_000 * 20)), 48_000)
    tracemalloc.start()
    try:
        await loader.load([part("audio", data)])
        before, files = held_bytes(), psutil.Process().num_fds()
        for _ in range(5):
            await loader.load([part("audio", data)])
        # The thread that took the last sound lets go of it just after it has returned.
        assert await becomes_true(lambda: held_bytes() - before < 1 << 20)
        assert psutil.Process().num_fds() <= files + 2
    finally:
        tracemalloc.stop()


def held_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def test_errors_reveal_nothing_about_the_machine(loader: MediaLoader) -> None:
    broken = [
        b"RIFF\x10\0\0\0WAVEfmt " + bytes(64),
        b"fLaC" + bytes(64),
        b"OggS" + bytes(64),
        b"ID3" + bytes(64),
    ]
    for data in broken:
        with pytest.raises(BadRequest) as refusal:
            await loader.load([part("audio", data)])
        text = refusal.value.message.lower()
        assert not any(
            word in text for word in ("0x", "/proc", "/usr", "ffmpeg", "pillow", "traceback", "errno")
        )
