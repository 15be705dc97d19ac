"""A part of `make test` that fails, or that a signal ends, fails the run; no part outlives it."""

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


def test_no_part_outlives_a_terminated_run(tmp_path: Path) -> None:
    part = tmp_path / "part.py"
    begun = tmp_path / "begun"
    begun.mkdir()
    # After two seconds what started it waits for its end.
    part.write_text(
        "import os, pathlib, time\ntime.sleep(2)\n"
        f"pathlib.Path({str(begun)!r}, str(os.getpid())).touch()\ntime.sleep(300)\n"
    )
    program = (
        f"from tests import run; run.PYTEST = ({sys.executable!r}, '-I', {str(part)!r}); run.side_by_side(())"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        wait_until(lambda: len(list(begun.iterdir())) == 3)
        process.terminate()
    assert process.returncode == 128 + signal.SIGTERM
    wait_until(lambda: not any(Path("/proc", each.name).exists() for each in begun.iterdir()))


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)
