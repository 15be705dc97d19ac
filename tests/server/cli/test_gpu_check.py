"""`antiphon doctor` on GPUs: which driver and card the wheels run on, and which tier fits."""

from __future__ import annotations

from pathlib import Path
from shutil import which

import pytest

from antiphon_server.cli.machine_checks import checks, machine
from antiphon_server.cli.machine_checks.gpu import check_gpus
from antiphon_server.cli.machine_checks.machine import DriverHangs, Gpu, find_gpus
from antiphon_server.cli.plan import this_machine
from antiphon_server.exits import StartupError

H200 = Gpu("NVIDIA H200", 143_771 << 20, "580.65.06", (9, 0))
H100 = Gpu("NVIDIA H100 80GB HBM3", 81_559 << 20, "580.65.06", (9, 0))
L40S = Gpu("NVIDIA L40S", 46_068 << 20, "590.10", (8, 9))


@pytest.mark.parametrize(
    ("gpus", "tier"),
    [
        ([H200] * 8, "tier plus fits"),
        ([H100] * 2, "tier flash fits"),
        ([H100, L40S], "tier light fits"),
        ([H200], "tier light fits"),
        ([L40S] * 2, "no tier fits"),
    ],
)
def test_the_largest_tier_that_fits_is_named(gpus: list[Gpu], tier: str) -> None:
    found = check_gpus(gpus, has_cuda_build=True)
    assert found.verdict == "ok"
    assert tier in found.detail
    assert f"{gpus[0].name}, " in found.detail


def test_a_driver_that_is_too_old_for_the_wheels_is_a_problem() -> None:
    old = Gpu("NVIDIA H200", 143_771 << 20, "570.124.06", (9, 0))
    found = check_gpus([H200, old], has_cuda_build=True)
    assert found.verdict == "problem"
    assert "580" in found.fix


def test_a_card_without_bfloat16_is_a_problem() -> None:
    found = check_gpus([Gpu("Tesla V100", 32_768 << 20, "580.65.06", (7, 0))], has_cuda_build=True)
    assert found.verdict == "problem"
    assert "8.0" in found.fix


def test_what_the_driver_does_not_say_is_no_problem() -> None:
    found = check_gpus([Gpu("NVIDIA GB10", None, "[N/A]")], has_cuda_build=True)
    assert found.verdict == "ok"
    assert "shared memory" in found.detail


@pytest.mark.parametrize(
    ("refused", "capability"), [("nothing", (9, 0)), ("compute_cap", None)], ids=("new", "old")
)
def test_an_old_driver_that_knows_fewer_fields_still_lists_its_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str, capability: tuple[int, int] | None
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(
        f'''#!/bin/sh
case "$1" in
    *{refused}*) echo 'Field "{refused}" is not a valid field to query.'; exit 2 ;;
    *compute_cap*) echo "NVIDIA H200, 143771, 580.65.06, 9.0" ;;
    *) echo "NVIDIA H200, 143771, 580.65.06" ;;
esac
'''
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_gpus() == [Gpu("NVIDIA H200", 143_771 << 20, "580.65.06", capability)]


def test_a_driver_that_hangs_is_asked_once_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program, asked = tmp_path / "nvidia-smi", tmp_path / "asked"
    program.write_text(f"#!/bin/sh\necho >> {asked}\nexec {which('sleep')} 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(machine, "_NVIDIA_SMI_S", 0.5)
    with pytest.raises(DriverHangs, match=r"not answered within 0\.5 s"):
        find_gpus()
    assert asked.read_text() == "\n"
    found = checks._gpu()
    assert (found.verdict, "0.5 s" in found.detail) == ("problem", True)
    with pytest.raises(StartupError, match="--gpu-memory"):
        this_machine()


@pytest.mark.parametrize(("has_cuda_build", "verdict"), [(True, "problem"), (False, "ok")])
def test_no_gpu_is_a_problem_of_a_cuda_build_only(has_cuda_build: bool, verdict: str) -> None:
    assert check_gpus([], has_cuda_build=has_cuda_build).verdict == verdict
