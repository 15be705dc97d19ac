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
from tests.warm_start import warm_start

ON_CPU = ["--device", "cpu", "--batches"]
PROGRAM = """
import sys
from tests.gpu.acceptance import main
code = main(sys.argv[1:])
assert "vllm" not in sys.modules
sys.exit(code)
"""


@pytest.mark.timeout(900)
def test_every_kernel_is_compared_without_vllm() -> None:
    """With itself, on a CPU, in a process of its own: other tests run the kernels in Triton's interpreter."""
    command = [sys.executable, "-c", PROGRAM, "A", *ON_CPU, "1"]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=800)
    assert ran.returncode == 0, ran.stdout[-2_000:] + ran.stderr[-2_000:]
    for name in ("snake", "stream_conv by channel", "stream_transposed_conv", "rotate_heads", "draw"):
        assert f"| A | {name} |" in ran.stdout


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
def test_the_talkers_engine_is_measured_alone(
    tiny_qwen3_omni: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    with warm_start():
        code = acceptance.main(["D", *ON_CPU, "1,2", "--steps", "6", "--model", str(tiny_qwen3_omni)])
    printed = capsys.readouterr().out
    assert code == 0, printed
    assert "| D | talker step | 1 |" in printed
    assert "| D | talker step | 2 |" in printed
