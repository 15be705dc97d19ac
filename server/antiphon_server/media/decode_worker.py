"""A decoder process: forked off a warm fork server, confined, given one job, gone after it.

In: a job and its descriptors (log, input, output). Out: the output, the log, and an exit code.
Never lives for a second item, so what a hostile file does to it cannot reach another request.
"""

from __future__ import annotations

import fcntl
import math
import os
import traceback
from pathlib import Path

from antiphon_server.media import job as jobs
from antiphon_server.media import picture_worker
from antiphon_server.media.confine import Limits, Origin, confine
from antiphon_server.media.fork_protocol import DESCRIPTORS, LOG_BYTES, NOT_CONFINED, WorkerSettings
from antiphon_server.media.profiles import EXECUTING, IN_PROCESS

_FAILED = 1
_OPEN_FILES = 64
_FFMPEG_THREADS = 2
# The first number after standard input, output and error, which lead to /dev/null.
_FIRST = 3
_OUT_OF_THE_WAY = 16


def warm_up() -> None:
    """Loads everything that decoding needs: a confined worker can open no file."""
    picture_worker.warm_up()


def work(job: jobs.Job, descriptors: list[int], settings: WorkerSettings, origin: Origin) -> int:
    """Returns the exit code. Runs ffmpeg in place of this process where the job is one for it."""
    log, source, output = descriptors
    executes = isinstance(job, jobs.FfmpegJob)
    if executes:
        _keep(0, (source, log, log, output))
        log, output = 1, 3
    else:
        _keep(_FIRST, (log, source, output))
        log, source, output = range(_FIRST, _FIRST + DESCRIPTORS)
    try:
        return _confined(job, (log, source, output), settings, origin)
    except Exception:
        os.write(log, traceback.format_exc().encode())
        return _FAILED


def _confined(job: jobs.Job, files: tuple[int, ...], settings: WorkerSettings, origin: Origin) -> int:
    log, source, output = files
    profile, threads = (EXECUTING, _FFMPEG_THREADS) if isinstance(job, jobs.FfmpegJob) else (IN_PROCESS, 1)
    limits = Limits(
        cpu_s=math.ceil(settings.decode_s * threads),
        memory_bytes=settings.memory_bytes,
        # The log obeys the same limit of the kernel.
        output_bytes=max(job.output_bytes, LOG_BYTES),
        open_files=_OPEN_FILES,
    )
    program = Path(settings.program)
    layers = confine(profile, limits, program, origin, output)
    if isinstance(job, jobs.ProbeJob):
        os.write(log, layers.encode())
        return 0
    if layers.missing_required and not settings.allow_weak:
        os.write(log, f"not confined: {', '.join(layers.missing_required)}".encode())
        return NOT_CONFINED
    if isinstance(job, jobs.FfmpegJob):
        os.execve(program, [str(program), *job.argv], {"LC_ALL": "C"})  # noqa: S606
    os.write(log, jobs.encode_report(picture_worker.draw(job, source, output)))
    return 0


def _keep(first: int, wanted: tuple[int, ...]) -> None:
    """Gives the descriptors the numbers from `first` on, and closes all that come after."""
    # Out of the way first of the numbers that they are about to get.
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _OUT_OF_THE_WAY) for descriptor in wanted]
    for number, descriptor in enumerate(moved, first):
        os.dup2(descriptor, number, inheritable=True)
    os.closerange(first + len(wanted), os.sysconf("SC_OPEN_MAX"))
