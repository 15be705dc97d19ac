"""No engine process outlives its server, however the server dies.

Every vLLM process loads our plugin; each then watches the server's process and ends with it.
"""

from __future__ import annotations

import os
import select
import signal
import threading

SERVER_PID = "ANTIPHON_SERVER_PID"


def adopt_children() -> None:
    """Called by the server before it starts engines: what it starts from now on ends with it."""
    os.environ[SERVER_PID] = str(os.getpid())


def is_engine_process() -> bool:
    """Whether a server has started this process."""
    return _server() not in (0, os.getpid())


def watch_parent() -> None:
    """Starts the watch, where this is an engine's process; does nothing in the server itself."""
    if not is_engine_process():
        return
    server = _server()
    try:
        handle = os.pidfd_open(server)
    except ProcessLookupError:
        os.kill(os.getpid(), signal.SIGKILL)
        return
    # A group of its own: Ctrl-C at the server's terminal is the server's to handle, and it drains first.
    os.setpgid(0, 0)
    threading.Thread(target=_end_with, args=(handle,), name="parent-watchdog", daemon=True).start()


def _server() -> int:
    return int(os.environ.get(SERVER_PID, "0"))


def _end_with(server: int) -> None:
    poll = select.poll()
    poll.register(server, select.POLLIN)
    poll.poll()
    os.kill(os.getpid(), signal.SIGKILL)
