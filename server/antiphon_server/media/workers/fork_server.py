"""The process that decoders are forked from: everything is loaded once, and a fork takes milliseconds.

In, over a socket: jobs with their descriptors, and orders to end one. Out: how each worker ended.
It never touches a byte of media; its workers do, once they are confined.
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
from antiphon_server.media.sandbox.confinement import Origin, die_with, leave_network
from antiphon_server.media.sandbox.fork_protocol import (
    DESCRIPTORS,
    MESSAGE_BYTES,
    READY,
    End,
    Order,
    WorkerSettings,
)
from antiphon_server.media.workers.worker import warm_up, work

_FAILED = 1


class ForkServer:
    """One thread, and a loop over two descriptors: the server's orders, and the deaths of workers."""

    def __init__(self, control: socket.socket, settings: WorkerSettings, origin: Origin) -> None:
        self._control = control
        self._settings = settings
        self._origin = origin
        self._running: dict[int, int] = {}

    def serve(self) -> None:
        """Until the server is gone. The kernel ends the workers that are left."""
        deaths, wake = socket.socketpair()
        wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        poll = select.poll()
        for source in (self._control, deaths):
            poll.register(source, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == deaths.fileno():
                    deaths.recv(MESSAGE_BYTES)
                    self._reap()
                elif not self._obey():
                    return

    def _obey(self) -> bool:
        """Carries one order out. False when the server is gone."""
        message, descriptors, _, _ = socket.recv_fds(self._control, MESSAGE_BYTES, DESCRIPTORS)
        if not message:
            return False
        order = Order.decode(message)
        try:
            if order.job is None:
                self._end(order.number)
            else:
                self._start(order.number, order.job, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _start(self, number: int, job: jobs.Job, descriptors: list[int]) -> None:
        try:
            if len(descriptors) != DESCRIPTORS:
                raise OSError(errno.EMFILE, "descriptors were lost on the way")
            process = os.fork()
        except OSError as error:
            self._tell(End(number, errno=error.errno or _FAILED))
            return
        if process:
            self._running[process] = number
            return
        code = _FAILED
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            code = work(job, descriptors, self._settings, self._origin)
        finally:
            os._exit(code)

    def _end(self, number: int) -> None:
        # A process keeps its id until `_reap`, so that no other process can be hit.
        for process, its_number in self._running.items():
            if its_number == number:
                os.kill(process, signal.SIGKILL)

    def _reap(self) -> None:
        while self._running:
            process, status = os.waitpid(-1, os.WNOHANG)
            if not process:
                return
            self._tell(End(self._running.pop(process), os.waitstatus_to_exitcode(status)))

    def _tell(self, end: End) -> None:
        self._control.send(end.encode())


def main() -> int:
    """Arguments: control socket, the server's `Origin` and the `WorkerSettings` as JSON."""
    control = socket.socket(fileno=int(sys.argv[1]))
    server = Origin(**json.loads(sys.argv[2]))
    settings = WorkerSettings(**json.loads(sys.argv[3]))
    leave_network()
    # After `leave_network`: a new user namespace clears it.
    die_with(server.parent)
    warm_up()
    gc.freeze()
    # Until here it is for the operator to read; workers have nothing to say to anyone.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    control.send(READY)
    ForkServer(control, settings, Origin(server.user, server.network, os.getpid())).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
