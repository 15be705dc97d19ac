"""The CPU time of a process distinguishes a long step from one that never ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from antiphon_executor.ipc.cpu_time import cpu_time_s
from tests.e2e.server_process import becomes


@pytest.mark.parametrize(
    ("program", "stopped", "computes"),
    [("while True: pass", False, True), ("while True: pass", True, False), ("input()", False, False)],
)
def test_only_a_process_that_computes_uses_time(program: str, stopped: bool, computes: bool) -> None:
    command = [sys.executable, "-SIc", f"print(flush=True)\n{program}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout
            assert child.stdout.readline()
            if stopped:
                child.send_signal(signal.SIGSTOP)
            if not computes:
                resting = {psutil.STATUS_STOPPED, psutil.STATUS_SLEEPING}
                assert becomes(lambda: psutil.Process(child.pid).status() in resting, 20)
            before = cpu_time_s([child.pid])
            # A busy machine may give it little time within a second.
            used = becomes(lambda: cpu_time_s([child.pid]) - before > 0.05, 20 if computes else 1)
            assert used is computes
        finally:
            child.kill()


def test_processes_are_added_up_and_an_ended_one_counts_as_zero() -> None:
    own = cpu_time_s([os.getpid()])
    assert own > 0
    assert cpu_time_s([os.getpid(), 1 << 22]) >= own
