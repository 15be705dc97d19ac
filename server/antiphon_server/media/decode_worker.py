"""A decoder process: started ahead, confined, given one job, gone after it.

In, over a socket: one job, with its descriptors (log, input, output). Out: the output and an exit status.
Never lives for a second item, so what a hostile file does to it cannot reach another request.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from pathlib import Path

from antiphon_server.media import job as jobs
from antiphon_server.media.confine import OPEN_FILES, confine, limit, limit_output

_DESCRIPTORS = 3
_OUT_OF_THE_WAY = 16
_MESSAGE_BYTES = 1 << 17


def main() -> int:
    """Arguments: control socket, CPU seconds, address space in bytes, path of ffmpeg."""
    control = socket.socket(fileno=int(sys.argv[1]))
    program = Path(sys.argv[4])
    limit(cpu_s=int(sys.argv[2]), memory_bytes=int(sys.argv[3]))
    control.send(", ".join(confine(program)).encode())
    message, descriptors, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, _DESCRIPTORS)
    if not message:
        return 0
    job = jobs.decode(message)
    control.close()
    log, source, output = descriptors
    limit_output(job.output_bytes)
    if isinstance(job, jobs.PictureJob):
        from antiphon_server.media.picture_worker import draw

        os.write(log, jobs.encode_report(draw(job, source, output)))
        return 0
    _become_ffmpeg(job, program, (source, log, log, output))
    return 127


def _become_ffmpeg(job: jobs.FfmpegJob, program: Path, wanted: tuple[int, ...]) -> None:
    # Out of the way first of the numbers that they are about to get.
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _OUT_OF_THE_WAY) for descriptor in wanted]
    for number, descriptor in enumerate(moved):
        os.dup2(descriptor, number, inheritable=True)
    os.closerange(len(wanted), OPEN_FILES)
    os.execve(program, [str(program), *job.argv], {"LC_ALL": "C"})  # noqa: S606


if __name__ == "__main__":
    sys.exit(main())
