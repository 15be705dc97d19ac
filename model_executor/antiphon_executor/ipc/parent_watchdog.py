"""Ends every engine process when the server's process ends, in whatever way the server dies.

Every vLLM process loads our plugin, which starts a thread that watches the server's process.
"""

from __future__ import annotations

import os
import select
import signal
import threading

SERVER_PID = "ANTIPHON_SERVER_PID"


def adopt_children() -> None:
    """Called by the server before it starts engines: processes started from now on end with it."""
    os.environ[SERVER_PID] = str(os.getpid())


def is_engine_process() -> bool:
    """Whether a server has started this process as an engine."""
    return _server() not in (0, os.getpid())


def watch_parent() -> None:
    """Starts the watchdog thread in an engine process; does nothing in the server itself."""
    if not is_engine_process():
        return
    server = _server()
    try:
        handle = os.pidfd_open(server)
    except ProcessLookupError:
        os.kill(os.getpid(), signal.SIGKILL)
        return
    # Own process group: Ctrl-C at the terminal reaches only the server, which drains requests first.
    os.setpgid(0, 0)
    threading.Thread(target=_end_with, args=(handle,), name="parent-watchdog", daemon=True).start()


def _server() -> int:
    return int(os.environ.get(SERVER_PID, "0"))


def _end_with(server: int) -> None:
    poll = select.poll()
    poll.register(server, select.POLLIN)
    poll.poll()
    os.kill(os.getpid(), signal.SIGKILL)
