"""Engine processes end with their server, even if it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil

from tests.e2e.server_process import becomes

ENGINE = """
import time
from antiphon_executor.ipc.parent_watchdog import watch_parent
watch_parent()
print("guarded", flush=True)
time.sleep(60)
"""
SERVER = f"""
import subprocess, sys, time
from antiphon_executor.ipc.parent_watchdog import adopt_children, watch_parent
adopt_children()
watch_parent()
engine = subprocess.Popen([sys.executable, "-c", {ENGINE!r}], stdout=subprocess.PIPE)
engine.stdout.readline()
print(engine.pid, flush=True)
time.sleep(60)
"""


def started() -> tuple[subprocess.Popen[str], psutil.Process]:
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    return server, psutil.Process(int(server.stdout.readline()))


def gone(process: psutil.Process) -> bool:
    def ended() -> bool:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE

    return becomes(ended, 2)


def test_given_a_server_that_is_killed_then_its_engine_ends_within_two_seconds() -> None:
    server, engine = started()
    assert engine.is_running()
    server.kill()
    server.wait()
    assert gone(engine)


def test_given_a_live_server_then_its_engine_lives_in_a_process_group_of_its_own() -> None:
    server, engine = started()
    try:
        assert os.getpgid(engine.pid) == engine.pid != os.getpgid(server.pid)
        assert engine.is_running()
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
        assert gone(engine)
