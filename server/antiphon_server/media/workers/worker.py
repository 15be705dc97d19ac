"""A decoder process: forked off a warm fork server, confined, given one job, gone after it.

In: a job and its descriptors (log, input, output, a socket to ask the server on). Out: the output, the report
in the log, and an exit code.
Never lives for a second item, so what a hostile file does to it cannot reach another request.
"""

from __future__ import annotations

import fcntl
import math
import os
import traceback

from antiphon_server.media.sandbox import job as jobs
from antiphon_server.media.sandbox.confinement import Limits, Origin, confine
from antiphon_server.media.sandbox.fork_protocol import DESCRIPTORS, LOG_BYTES, NOT_CONFINED, WorkerSettings
from antiphon_server.media.workers import audio_worker as sound_worker
from antiphon_server.media.workers import image_worker as picture_worker
from antiphon_server.media.workers import video_worker
from antiphon_server.media.workers.warm_up import warm_up

__all__ = ["warm_up", "work"]

_FAILED = 1
_OPEN_FILES = 64
# The first number after standard input, output and error, which lead to /dev/null.
_FIRST = 3
_OUT_OF_THE_WAY = 16
_ANSWER_BYTES = 1024


def work(job: jobs.Job, descriptors: list[int], settings: WorkerSettings, origin: Origin) -> int:
    """Returns the exit code."""
    _keep(_FIRST, descriptors)
    log, source, output, server = range(_FIRST, _FIRST + DESCRIPTORS)
    try:
        limits = Limits(
            cpu_s=math.ceil(settings.decode_s),
            memory_bytes=settings.memory_bytes,
            # The log obeys the same limit of the kernel.
            output_bytes=max(job.output_bytes, LOG_BYTES),
            open_files=_OPEN_FILES,
        )
        layers = confine(limits, origin, output)
        if isinstance(job, jobs.ProbeJob):
            os.write(log, layers.encode())
            return 0
        if layers.missing_required and not settings.allow_weak:
            os.write(log, layers.encode())
            return NOT_CONFINED
        os.write(log, jobs.encode(_report(job, source, output, server)))
    except Exception:
        os.write(log, traceback.format_exc().encode()[-LOG_BYTES:])
        return _FAILED
    return 0


def _report(job: jobs.Job, source: int, output: int, server: int) -> jobs.Report:
    def ask(found: jobs.Found) -> jobs.Size:
        os.write(server, jobs.encode(found))
        return jobs.decode_size(os.read(server, _ANSWER_BYTES))

    try:
        if isinstance(job, jobs.SoundJob):
            return sound_worker.decode_sound(job, source, output)
        if isinstance(job, jobs.VideoJob):
            return video_worker.decode_video(job, source, output, ask)
        if isinstance(job, jobs.PictureJob):
            return picture_worker.draw(job, source, output, ask)
    except jobs.Refused as refused:
        return jobs.Report(trouble=refused.trouble, **refused.facts)
    raise ValueError(type(job).__name__)


def _keep(first: int, wanted: list[int]) -> None:
    """Gives the descriptors the numbers from `first` on, and closes all that come after."""
    # Out of the way first of the numbers that they are about to get.
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _OUT_OF_THE_WAY) for descriptor in wanted]
    for number, descriptor in enumerate(moved, first):
        os.dup2(descriptor, number, inheritable=True)
    os.closerange(first + len(wanted), os.sysconf("SC_OPEN_MAX"))
