"""A decoder process: forked off the warm fork server, confined, given one job, and ended after it.

Its descriptors are a log, the input, the output, and a socket for its question to the server. No process gets
a second job, so a hostile file cannot reach another request.
"""

from __future__ import annotations

import fcntl
import math
import os
import traceback

from antiphon_server.media.sandbox import job as jobs
from antiphon_server.media.sandbox.confinement import ServerIdentity, WorkerLimits, confine
from antiphon_server.media.sandbox.fork_protocol import DESCRIPTORS, LOG_BYTES, NOT_CONFINED, WorkerSettings
from antiphon_server.media.workers.audio_worker import decode_audio
from antiphon_server.media.workers.image_worker import decode_images
from antiphon_server.media.workers.length_worker import measure_length
from antiphon_server.media.workers.video_worker import decode_video

_FAILED = 1
_OPEN_FILES = 64
# The first number after standard input, output and error, which are /dev/null.
_FIRST_DESCRIPTOR = 3
_TEMPORARY_DESCRIPTOR = 16
_ANSWER_BYTES = 1024


def run_job(
    job: jobs.Job, descriptors: list[int], settings: WorkerSettings, fork_server: ServerIdentity
) -> int:
    """Confines this process and runs the job. Returns the exit code."""
    _move_descriptors(descriptors)
    log, source, output, server = range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + DESCRIPTORS)
    try:
        limits = WorkerLimits(
            cpu_s=math.ceil(settings.decode_s + _expected_cpu_s(job)),
            memory_bytes=settings.memory_bytes,
            # The kernel applies the same limit to the log.
            output_bytes=max(job.output_bytes, LOG_BYTES),
            open_files=_OPEN_FILES,
        )
        layers = confine(limits, fork_server, output)
        if isinstance(job, jobs.ProbeJob):
            os.write(log, layers.encode())
            return 0
        if layers.missing_required and not settings.allow_weak:
            os.write(log, layers.encode())
            return NOT_CONFINED
        os.write(log, jobs.encode_message(_decode(job, source, output, server)))
    except Exception:
        os.write(log, traceback.format_exc().encode()[-LOG_BYTES:])
        return _FAILED
    return 0


def _decode(job: jobs.Job, source: int, output: int, server: int) -> jobs.DecodeReport:
    def choose_size(dimensions: jobs.Dimensions) -> jobs.Size:
        os.write(server, jobs.encode_message(dimensions))
        return jobs.decode_size(os.read(server, _ANSWER_BYTES))

    def hand_over(piece: jobs.Piece) -> None:
        os.write(server, jobs.encode_message(piece))
        if os.read(server, _ANSWER_BYTES) != jobs.TAKEN:
            raise ConnectionError("the server takes no more")

    try:
        if isinstance(job, jobs.AudioJob):
            return decode_audio(job, source, output, hand_over)
        if isinstance(job, jobs.LengthJob):
            return measure_length(job, source)
        if isinstance(job, jobs.VideoJob):
            return decode_video(job, source, output, choose_size, hand_over)
        if isinstance(job, jobs.ImageJob):
            return decode_images(job, source, output, choose_size)
    except jobs.DecodeRefused as refused:
        return jobs.DecodeReport(failure=refused.failure, **refused.facts)
    raise ValueError(type(job).__name__)


def _expected_cpu_s(job: jobs.Job) -> float:
    """CPU seconds that a job may take besides those of any job: for video, and for audio in pieces."""
    if isinstance(job, jobs.AudioJob) and job.piece_samples:
        return jobs.longest_decoding_s(job.max_samples)
    if isinstance(job, jobs.VideoJob):
        return jobs.longest_video_decoding_s(job)
    return 0.0


def _move_descriptors(descriptors: list[int]) -> None:
    """Gives the descriptors the numbers from 3 on and closes all others after them."""
    # Moved twice, because some may already have a number that another one is about to get.
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _TEMPORARY_DESCRIPTOR) for descriptor in descriptors]
    for number, descriptor in enumerate(moved, _FIRST_DESCRIPTOR):
        os.dup2(descriptor, number, inheritable=True)
    os.closerange(_FIRST_DESCRIPTOR + len(descriptors), os.sysconf("SC_OPEN_MAX"))
