"""`make lock-cuda` notices a lock whose packages do not fit together, from pip's report of a dry run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FITS = Path(__file__).parents[2] / "lock" / "fits.py"


def package(name: str, version: str, *needs: str) -> dict[str, object]:
    return {"metadata": {"name": name, "version": version, "requires_dist": list(needs)}}


def run(folder: Path, *packages: dict[str, object]) -> tuple[int, str]:
    report = folder / "report.json"
    environment = {"sys_platform": "linux", "python_version": "3.12"}
    report.write_text(json.dumps({"install": packages, "environment": environment}))
    ran = subprocess.run([sys.executable, FITS, report], capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout + ran.stderr


ROOT = package(
    "engine", "1", "Torch==2.13.0", "dsl[cu13]>=4", "torchaudio>=2", 'wine; sys_platform == "win32"'
)
DSL = package("dsl", "4.8.0", 'dsl-libs==4.8.0; extra == "cu13"', 'other; extra == "cu12"')
TORCH, OLD_TORCH = package("torch", "2.13.0"), package("torch", "2.12.0")
LIBS = package("dsl_libs", "4.8.0")


def test_a_lock_whose_packages_meet_every_requirement_fits(tmp_path: Path) -> None:
    """Extras count if they are asked for, markers if they hold, and what is never installed not at all."""
    code, said = run(tmp_path, ROOT, DSL, TORCH, LIBS)
    assert (code, said.strip()) == (0, "4 packages, 0 requirements that they do not meet")


@pytest.mark.parametrize(
    ("packages", "problem"),
    [
        ([OLD_TORCH, LIBS], "engine needs Torch==2.13.0, and the lock has 2.12.0"),
        ([TORCH], "dsl needs dsl-libs==4.8.0"),
    ],
)
def test_a_missing_or_wrong_version_is_named(
    tmp_path: Path, packages: list[dict[str, object]], problem: str
) -> None:
    code, said = run(tmp_path, ROOT, DSL, *packages)
    assert code == 1
    assert problem in said
