"""The watch on a server's processes sees a decoder that lives between two of its samples."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import process_usage
from tests.e2e.process_usage import UsageWatch
from tests.e2e.server_process import RunningServer

# Forks a decoder for each line of its input, and says when it has ended.
FORKS = """
import os, sys, time
for _ in sys.stdin:
    if os.fork() == 0:
        while time.process_time() < 0.1:
            pass
        os._exit(0)
    os.wait()
    print(flush=True)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    command = [sys.executable, "-SIc", FORKS, "fork_server"]
    running = RunningServer((), {}, 0, tmp_path / "log")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running.process:
        yield running
        running.process.kill()


def test_a_decoder_between_two_samples_is_seen(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_usage, "EVERY_S", 600)
    process = server.process
    assert isinstance(process, subprocess.Popen)
    assert process.stdin
    assert process.stdout
    with UsageWatch(server) as watch:
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
    assert not any(sample.decoders for sample in watch.samples)
    assert watch.decoded
    assert watch.cpu_s("decoders") == pytest.approx(0.1, abs=0.09)
    with UsageWatch(server) as watch:
        pass
    assert not watch.decoded
