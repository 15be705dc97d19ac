"""A decoder has no network, no files, no processes and no second chance; its death is one request's error."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest
import pytest_asyncio

from antiphon_server.errors import ApiError, BadRequest, Overloaded, ServerFault
from antiphon_server.media.ffmpeg import FfmpegMissing, find_ffmpeg
from antiphon_server.media.job import FfmpegJob
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox import Sandbox
from tests.server.media.making import ffmpeg, part, tone, until_ffmpeg_runs, wav

# What a decoder that was taken over would try, run as a decoder is.
_ESCAPES = {
    "a socket": "import socket; socket.socket()",
    "a socket pair": "import socket; socket.socketpair()",
    "a process": "import os; os.fork()",
    "a program": "import subprocess; subprocess.run(['true'])",
    "a session": "import os; os.setsid()",
    "a signal": "import os; os.kill(os.getppid(), 0)",
    "the password file": "open('/etc/passwd').read()",
    "the server's environment": "import os; open(f'/proc/{os.getppid()}/environ').read()",
    "a new file": "open('/tmp/escaped', 'w')",
    "too much memory": "bytearray(3 << 30)",
    "too many files": "import os; [os.dup(0) for _ in range(100)]",
}
_CONFINED = (
    "from pathlib import Path; from antiphon_server.media.confine import confine, limit; "
    "limit(cpu_s=5, memory_bytes=1 << 30); layers = confine(Path('/usr/bin/true')); "
)


def decoders() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def slow_job() -> FfmpegJob:
    """A job that would take minutes: more samples than can be resampled in the time."""
    argv = ("-v", "error", "-f", "lavfi", "-i", "testsrc=s=1920x1080:d=600", "-f", "null", "-")
    return FfmpegJob(argv, output_bytes=1_000)


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox(MediaPolicy(decode_s=1.0, decode_workers=2, decode_queue_s=0.5), find_ffmpeg())
    await sandbox.start()
    yield sandbox
    await sandbox.close()


@pytest.mark.parametrize("goal", _ESCAPES)
def test_a_confined_process_cannot_reach(goal: str) -> None:
    guarded = f"try:\n    exec({_ESCAPES[goal]!r})\nexcept (OSError, MemoryError):\n    print('refused')"
    attempt = f"{_CONFINED}\n{guarded}"
    ran = subprocess.run(
        [sys.executable, "-I", "-c", attempt], capture_output=True, text=True, timeout=20, check=False
    )
    assert ran.stdout.strip() == "refused", ran.stderr


def test_the_same_escapes_succeed_outside() -> None:
    """So that the test above cannot pass for want of a target."""
    goals = ["a socket", "a socket pair", "a program", "a signal", "the password file", "too many files"]
    for goal in goals:
        subprocess.run([sys.executable, "-I", "-c", _ESCAPES[goal]], check=True, timeout=20)


def test_all_layers_are_in_force_here() -> None:
    ran = subprocess.run(
        [sys.executable, "-I", "-c", f"{_CONFINED}print(layers)"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    for layer in ("rlimits", "seccomp"):
        assert layer in ran.stdout


async def test_an_output_cannot_grow_past_its_cap(sandbox: Sandbox) -> None:
    argv = ("-v", "error", "-f", "lavfi", "-i", "anullsrc", "-f", "s16le", "pipe:3")
    outcome = await sandbox.run(FfmpegJob(argv, output_bytes=100_000), [b"x"])
    assert not outcome.succeeded
    assert len(outcome.output) == 100_000


async def test_a_decoder_is_killed_at_its_deadline(sandbox: Sandbox) -> None:
    started = time.monotonic()
    outcome = await sandbox.run(slow_job(), [b"x"])
    assert outcome.timed_out
    assert time.monotonic() - started < 4


async def test_who_finds_no_decoder_in_time_is_told_to_come_back(sandbox: Sandbox) -> None:
    outcomes = await asyncio.gather(
        *(sandbox.run(slow_job(), [b"x"]) for _ in range(3)), return_exceptions=True
    )
    (refused,) = (outcome for outcome in outcomes if isinstance(outcome, Exception))
    assert isinstance(refused, Overloaded)
    assert refused.retry_after_s


async def test_a_cancelled_job_leaves_no_process(sandbox: Sandbox) -> None:
    job = asyncio.create_task(sandbox.run(slow_job(), [b"x"]))
    busy = await until_ffmpeg_runs()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert not any(psutil.pid_exists(pid) for pid in busy)


async def test_a_spare_that_has_died_is_passed_over(sandbox: Sandbox) -> None:
    for spare in list(sandbox._spares):
        os.kill(spare.process.pid, signal.SIGKILL)
        await spare.process.wait()
    argv = ("-v", "error", "-f", "lavfi", "-i", "anullsrc=d=0.1", "-f", "s16le", "pipe:3")
    assert (await sandbox.run(FfmpegJob(argv, output_bytes=100_000), [b"x"])).succeeded


async def test_closing_leaves_no_process() -> None:
    before = {process.pid for process in decoders()}
    sandbox = Sandbox(MediaPolicy(decode_workers=3), find_ffmpeg())
    await sandbox.start()
    started = {process.pid for process in decoders()} - before
    assert len(started) == 3
    await sandbox.close()
    assert not any(psutil.pid_exists(pid) for pid in started)


async def test_a_decoder_that_does_not_start_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    sandbox = Sandbox(MediaPolicy(), find_ffmpeg())
    with pytest.raises(ServerFault, match="a media decoder did not start"):
        await sandbox.start()


async def test_an_ffmpeg_that_does_not_run_is_found_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o700)
    monkeypatch.setenv("ANTIPHON_FFMPEG", str(broken))
    with pytest.raises(FfmpegMissing, match="does not run inside the media sandbox"):
        await MediaLoader(MediaPolicy()).start()


def test_decoders_die_with_the_server() -> None:
    script = (
        "import asyncio, os, signal\n"
        "from antiphon_server.media.sandbox import Sandbox\n"
        "from antiphon_server.media.policy import MediaPolicy\n"
        "from antiphon_server.media.ffmpeg import find_ffmpeg\n"
        "from antiphon_server.media.job import FfmpegJob\n"
        "async def main():\n"
        "    sandbox = Sandbox(MediaPolicy(), find_ffmpeg())\n"
        "    await sandbox.start()\n"
        f"    asyncio.create_task(sandbox.run({slow_job()!r}, [b'x']))\n"
        "    await asyncio.sleep(0.5)\n"
        "    print(*(w.process.pid for w in sandbox._spares), flush=True)\n"
        "    os.system(f'ps -o pid= --ppid {os.getpid()}')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    pids = {int(word) for word in ran.stdout.split()}
    assert len(pids) >= 2
    deadline = time.monotonic() + 3
    while any(map(_is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(_is_running, pids))


def _is_running(pid: int) -> bool:
    try:
        return (
            "antiphon" in Path(f"/proc/{pid}/cmdline").read_text()
            or "lavfi" in Path(f"/proc/{pid}/cmdline").read_text()
        )
    except OSError:
        return False


async def test_killed_decoders_fail_their_own_requests_only(loader: MediaLoader) -> None:
    """R9: kill -9 and SIGSEGV at random under parallel load; afterwards everything works."""
    data = ffmpeg("-i", "in.wav", suffix="flac", files={"in.wav": wav(tone(1, 48_000)[None], 48_000)})
    stop = asyncio.Event()
    killed = 0

    async def kill_some() -> None:
        nonlocal killed
        turn = 0
        while not stop.is_set():
            await asyncio.sleep(0.05)
            turn += 1
            for process in decoders()[:1]:
                try:
                    os.kill(process.pid, signal.SIGKILL if turn % 2 else signal.SIGSEGV)
                    killed += 1
                except ProcessLookupError:
                    pass

    killer = asyncio.create_task(kill_some())
    answers = await asyncio.gather(
        *(loader.load([part("audio", data)]) for _ in range(40)), return_exceptions=True
    )
    stop.set()
    await killer
    assert killed > 5
    for answer in answers:
        if isinstance(answer, BaseException):
            assert isinstance(answer, ApiError)
        else:
            assert len(answer.audios[0].samples) == 16_000
    after = await loader.load([part("audio", data)])
    assert len(after.audios[0].samples) == 16_000


async def test_the_server_does_not_grow(loader: MediaLoader) -> None:
    """By what is allocated and not freed: the size of a long test session's process moves by itself."""
    data = wav(np.zeros((2, 48_000 * 20)), 48_000)
    tracemalloc.start()
    try:
        await loader.load([part("audio", data)])
        before, files = held_bytes(), psutil.Process().num_fds()
        for _ in range(5):
            await loader.load([part("audio", data)])
        assert held_bytes() - before < 1 << 20
        assert psutil.Process().num_fds() <= files + 2
    finally:
        tracemalloc.stop()


def held_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def test_errors_say_nothing_of_the_machine(loader: MediaLoader) -> None:
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
