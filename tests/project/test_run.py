"""A part of `make test` that fails, or that a signal ends, fails the run."""

from __future__ import annotations

import sys
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
