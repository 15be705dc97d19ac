"""A part of `make test` that fails or is killed fails the run; none outlives it or loses its report."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import run

ENDINGS = {"passes": "assert True", "fails": "raise ValueError", "is killed": "os.kill(os.getpid(), 9)"}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("place", ["alone", "beside"])
def test_a_part_fails_the_run(
    ending: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "part.py"
    program.write_text(f"import os\n{ENDINGS[ending]}\n")
    monkeypatch.setattr(run, "PYTEST", (sys.executable, "-I"))
    if place == "alone":
        code = run.pytest((), (str(program),), ())
    else:
        with run.pytest_beside((), (str(program),), (), nice=0) as ended:
            code = ended()
    assert max(0, code) == 0 if ending == "passes" else max(0, code) > 0


def test_processes_of_tests_keep_their_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    command = [sys.executable, "-c", "import sys; sys.exit(sys.dont_write_bytecode)"]
    assert subprocess.run(command, check=False, env=run.environment()).returncode == 0


# After two seconds what started it waits for its end.
INTERRUPTED = """
import os, pathlib, time
try:
    time.sleep(2)
    pathlib.Path({begun!r}, str(os.getpid())).touch()
    time.sleep(300)
except KeyboardInterrupt:
    print("what failed so far")
"""


@pytest.mark.parametrize(
    ("suite", "parts", "number"),
    [("run.side_by_side(())", 3, signal.SIGTERM), ("run.main('check')", 1, signal.SIGINT)],
)
def test_no_part_outlives_an_interrupted_run_or_loses_its_report(
    suite: str, parts: int, number: signal.Signals, tmp_path: Path
) -> None:
    part = tmp_path / "part.py"
    begun = tmp_path / "begun"
    begun.mkdir()
    part.write_text(INTERRUPTED.format(begun=str(begun)))
    program = (
        f"from tests import run; run.PYTEST = ({sys.executable!r}, '-I', {str(part)!r});"
        f"run.end_in_order_when_terminated(); {suite}"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        wait_until(lambda: len(list(begun.iterdir())) == parts)
        process.send_signal(number)
        assert process.stdout is not None
        assert process.stdout.read().count("what failed so far") == parts
    assert process.returncode == (128 + number if number is signal.SIGTERM else -number)
    wait_until(lambda: not any(Path("/proc", each.name).exists() for each in begun.iterdir()))


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)
