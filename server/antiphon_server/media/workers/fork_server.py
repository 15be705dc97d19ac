"""The process that decoders are forked from: it loads all code once, so that a fork takes milliseconds.

It receives orders over a socket and reports the exits of workers. It never reads media; its workers do, once
they are confined.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import select
import signal
import socket
import sys

from antiphon_server.media.sandbox import job as jobs
from antiphon_server.media.sandbox.confinement import (
    ServerIdentity,
    die_with_parent,
    enter_empty_network,
)
from antiphon_server.media.sandbox.fork_protocol import (
    DESCRIPTORS,
    MESSAGE_BYTES,
    READY,
    WorkerExit,
    WorkerOrder,
    WorkerSettings,
)
from antiphon_server.media.workers.warm_up import warm_up
from antiphon_server.media.workers.worker import run_job

_FAILED = 1
# Speech that plays has a deadline; the decoding of a prompt has none, and takes the cores that are left.
_NICENESS = 5


class ForkServer:
    """A single-threaded loop over two descriptors: orders of the server, and exits of workers."""

    def __init__(self, control: socket.socket, settings: WorkerSettings, identity: ServerIdentity) -> None:
        self._control = control
        self._settings = settings
        self._identity = identity
        self._numbers: dict[int, int] = {}

    def serve(self) -> None:
        """Serves until the server is gone; the kernel then ends the remaining workers."""
        exits, wake = socket.socketpair()
        wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        poll = select.poll()
        for source in (self._control, exits):
            poll.register(source, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == exits.fileno():
                    exits.recv(MESSAGE_BYTES)
                    self._reap_workers()
                elif not self._handle_order():
                    return

    def _handle_order(self) -> bool:
        """Carries out one order. False if the server is gone."""
        message, descriptors, _, _ = socket.recv_fds(self._control, MESSAGE_BYTES, DESCRIPTORS)
        if not message:
            return False
        order = WorkerOrder.decode(message)
        try:
            if order.job is None:
                self._kill_worker(order.number)
            else:
                self._fork_worker(order.number, order.job, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _fork_worker(self, number: int, job: jobs.Job, descriptors: list[int]) -> None:
        try:
            if len(descriptors) != DESCRIPTORS:
                raise OSError(errno.EMFILE, "descriptors were lost in transit")
            process = os.fork()
        except OSError as error:
            self._send_exit(WorkerExit(number, errno=error.errno or _FAILED))
            return
        if process:
            self._numbers[process] = number
            return
        code = _FAILED
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.nice(_NICENESS)
            code = run_job(job, descriptors, self._settings, self._identity)
        finally:
            os._exit(code)

    def _kill_worker(self, number: int) -> None:
        # A process keeps its id until `_reap_workers`, so this cannot hit another process.
        for process, its_number in self._numbers.items():
            if its_number == number:
                os.kill(process, signal.SIGKILL)

    def _reap_workers(self) -> None:
        while self._numbers:
            process, status = os.waitpid(-1, os.WNOHANG)
            if not process:
                return
            self._send_exit(WorkerExit(self._numbers.pop(process), os.waitstatus_to_exitcode(status)))

    def _send_exit(self, worker_exit: WorkerExit) -> None:
        self._control.send(worker_exit.encode())


def main() -> int:
    """Arguments: the control socket, then `ServerIdentity` and `WorkerSettings` as JSON."""
    control = socket.socket(fileno=int(sys.argv[1]))
    server = ServerIdentity(**json.loads(sys.argv[2]))
    settings = WorkerSettings(**json.loads(sys.argv[3]))
    enter_empty_network()
    # Afterwards, because a new user namespace clears the parent-death signal.
    die_with_parent(server.parent)
    warm_up()
    gc.freeze()
    # Until here standard error is for the operator; workers write nothing to it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    control.send(READY)
    ForkServer(control, settings, ServerIdentity(server.user, server.network, os.getpid())).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
