"""Progress of loading: one live line on a terminal, else a line or a record per step."""

from __future__ import annotations

import io
import logging
import os
import pty
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from antiphon_server.config.settings import LogSettings
from antiphon_server.process.loading_progress import LiveLine, StepLines, loading_progress
from tests.machine import Patience

HIDE_CURSOR = "\x1b[?25l"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def last_line(screen: str) -> str:
    """What stands on the last line of a terminal that was sent `screen`."""
    return re.sub(r"\x1b\[[\d?]*[a-zA-Z]", "", screen.rsplit("\x1b[2K", 1)[-1]).strip()


def shows(terminal: Terminal, text: str) -> bool:
    """Whether `text` comes to stand on its last line, which a thread draws ten times a second."""
    patience = Patience(20)
    while text not in last_line(terminal.getvalue()):
        if patience.is_over():
            return False
        time.sleep(0.02)
    return True


def test_a_plain_log_has_a_line_per_step_with_the_seconds_since_the_start() -> None:
    out = io.StringIO()
    with loading_progress(LogSettings(format="plain"), out) as progress:
        progress("loading weights")
        progress("warming up")
    assert re.fullmatch(r"\[   0\.\d s\] loading weights\n\[   0\.\d s\] warming up\n", out.getvalue())


def test_the_seconds_are_those_of_the_monotonic_clock_since_the_start() -> None:
    now, written = 10.0, []
    progress = StepLines(
        io.StringIO(), lambda step, elapsed_s: written.append((step, elapsed_s)), lambda: now
    )
    now = 22.25
    progress("loading weights")
    assert written == [("loading weights", 12.25)]


def test_a_json_log_has_a_record_per_step(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "antiphon.start")
    with loading_progress(LogSettings(format="json"), Terminal()) as progress:
        progress("loading weights")
    (record,) = caplog.records
    assert record.message == "loading weights"
    assert record.fields["elapsed_s"] >= 0  # type: ignore[attr-defined]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def test_a_terminal_has_one_line_that_is_cleared_at_the_end(terminal: Terminal) -> None:
    with LiveLine(terminal, width=60) as progress:
        for number in range(3):
            progress(f"step {number} [of] 3")
            assert shows(terminal, f"step {number} [of] 3")
        assert terminal.getvalue().count("\n") == 0
    assert last_line(terminal.getvalue()) == ""


def test_a_step_longer_than_the_terminal_is_cut(terminal: Terminal) -> None:
    with LiveLine(terminal, width=40) as progress:
        progress("loading " + "x" * 200)
        assert shows(terminal, "loading x")
        assert 20 < len(last_line(terminal.getvalue())) <= 40


def test_log_lines_appear_above_the_live_line_and_unchanged(terminal: Terminal) -> None:
    line = "2026-01-01 WARNING [bold]not markup[/bold] :smile: " + "y" * 100
    with LiveLine(terminal, width=60) as progress:
        progress("loading weights")
        progress.log_stream.write(f"{line}\n")
        progress.log_stream.flush()
        assert shows(terminal, "loading weights")
        assert f"{line}\n" in terminal.getvalue()
    progress.log_stream.write("after\n")
    assert terminal.getvalue().endswith("after\n")


@pytest.mark.heavy
def test_a_server_on_a_terminal_shows_one_line_while_it_loads(checkpoint: Path, tmp_path: Path) -> None:
    loaded = tmp_path / "loaded"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.server.echo_server", str(checkpoint), "--port", str(port)]
    master, slave = pty.openpty()
    env = {**os.environ, "ECHO_LOADS_UNTIL": str(loaded), "TERM": "xterm"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave, env=env)
    os.close(slave)
    screen: list[bytes] = []

    def read() -> None:
        try:
            while chunk := os.read(master, 4096):
                screen.append(chunk)
        except OSError:
            """Linux: the other side of the terminal is closed."""

    reader = threading.Thread(target=read)
    reader.start()
    try:
        patience = Patience(20)
        while b"starting the echo" not in b"".join(screen) and not patience.is_over():
            time.sleep(0.02)
        loaded.touch()
        assert process.stdout is not None
        assert b"is ready" in process.stdout.readline()
        *_, shown = b"".join(screen).decode().partition(HIDE_CURSOR)
        assert "starting the echo" in shown
        assert shown.count("\n") == 1, "the end of the line, which is cleared"
        assert last_line(shown) == ""
        assert httpx.get(f"http://127.0.0.1:{port}/livez", verify=False).status_code == 200
    finally:
        process.kill()
        process.wait()
        reader.join(10)
        os.close(master)
