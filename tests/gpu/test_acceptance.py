"""The script for the first GPU runs. On a CPU its figures mean nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoints import tiny_qwen3_omni  # noqa: F401
from tests.gpu import acceptance
from tests.gpu.table import Given, Row

ON_CPU = ["--device", "cpu", "--batches"]


def run(*arguments: str) -> str:
    """In a process of its own: other tests of this one run the kernels in Triton's interpreter."""
    command = [sys.executable, "-m", "tests.gpu.acceptance", *arguments]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=800)
    assert ran.returncode == 0, ran.stdout[-2_000:] + ran.stderr[-2_000:]
    return ran.stdout


@pytest.mark.timeout(900)
def test_every_kernel_is_compared() -> None:
    """With itself, on a CPU."""
    printed = run("A", *ON_CPU, "1")
    for name in ("snake", "stream_conv by channel", "stream_transposed_conv", "rotate_heads", "draw"):
        assert f"| A | {name} |" in printed


def test_the_stages_without_an_engine_import_no_vllm() -> None:
    found = "import sys, tests.gpu.acceptance; print('vllm' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", found], check=True, capture_output=True, text=True, timeout=300
    )
    assert ran.stdout.strip() == "False"


def test_a_stage_that_fails_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(given: Given) -> list[Row]:
        raise RuntimeError(f"no kernel for {given.batches}")

    good = Row("C", "sound", 2, "bfloat16", 1.0, 0.0, "fine", True)
    monkeypatch.setattr(acceptance, "STAGES", {"B": breaks, "C": lambda given: [good]})
    result = tmp_path / "result.json"
    assert acceptance.main(["B", "C", *ON_CPU, "1,2", "--json", str(result)]) == 1
    assert "| B | RuntimeError: no kernel for [1, 2] |" in capsys.readouterr().out
    assert [row["good"] for row in json.loads(result.read_text())] == [False, True]
    assert acceptance.main(["C", *ON_CPU, "1"]) == 0


@pytest.mark.engine
@pytest.mark.timeout(900)
def test_the_talkers_engine_is_measured_alone(tiny_qwen3_omni: Path) -> None:  # noqa: F811
    printed = run("D", *ON_CPU, "1,2", "--steps", "6", "--model", str(tiny_qwen3_omni))
    assert "| D | talker step | 1 |" in printed
    assert "| D | talker step | 2 |" in printed
