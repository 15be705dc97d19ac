"""Worker processes of one stage, `python -m antiphon_nano.workers.start COUNT STAGE ARGUMENT...`.

If one worker fails, the others fail at their next barrier, and the command exits with 1.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Sequence

GROUP_VARIABLE = "ANTIPHON_NANO_WORKER"
"""Environment variable of a worker: its rank, the descriptor of its link, those of all gradient memories."""
ARRIVED = b"+"
"""Sent by a worker at a barrier, and back to it when all workers have arrived."""


def run(count: int, stage: str, arguments: Sequence[str]) -> int:
    """Returns the exit status of the whole: 0 if every worker succeeded, else 1."""
    # memfd, not a file in /dev/shm: containers often limit /dev/shm to 64 MB.
    memories = [os.memfd_create(f"gradients-{rank}") for rank in range(count)]
    links, processes = list[socket.socket](), list[subprocess.Popen[bytes]]()
    try:
        for rank in range(count):
            ours, theirs = socket.socketpair()
            links.append(ours)
            with theirs:
                descriptors = (theirs.fileno(), *memories)
                group = " ".join(map(str, (rank, *descriptors)))
                command = [sys.executable, "-u", "-m", stage, *arguments]
                environment = {**os.environ, GROUP_VARIABLE: group}
                processes.append(subprocess.Popen(command, env=environment, pass_fds=descriptors))
        release_barriers(links)
        # A worker that still waits at a barrier reads the end of its link, and fails.
        for link in links:
            link.close()
        return exit_status(processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for descriptor in memories:
            os.close(descriptor)


def release_barriers(links: Sequence[socket.socket]) -> None:
    """Releases the workers each time all have arrived at a barrier, until one of them has ended."""
    while all(arrived(link) for link in links):
        for link in links:
            # The next round notices a worker that has died since it arrived.
            with contextlib.suppress(ConnectionError):
                link.sendall(ARRIVED)


def arrived(link: socket.socket) -> bool:
    """Waits until the worker arrives at a barrier (True) or ends (False)."""
    try:
        return link.recv(1) == ARRIVED
    except ConnectionError:
        return False


def exit_status(processes: Sequence[subprocess.Popen[bytes]]) -> int:
    """Waits for all workers, and reports each that failed."""
    failed = False
    for rank, process in enumerate(processes):
        if process.wait():
            print(f"worker {rank} ended with exit status {process.returncode}", file=sys.stderr)
            failed = True
    return int(failed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, help="number of worker processes")
    parser.add_argument("stage", help="module of the stage, for example antiphon_nano.thinker.stages.polish")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="arguments of the stage")
    options = parser.parse_args()
    raise SystemExit(run(options.count, options.stage, options.arguments))


if __name__ == "__main__":
    main()
