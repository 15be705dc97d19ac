"""The wheel holds the three packages, with every file that the repository has of them, and nothing else."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.project.sources import PACKAGES, ROOT

pytestmark = pytest.mark.heavy

BUILT_FROM = ("server", "model_executor", "kernels")

LARGEST_BYTES = 1 << 20


def copy_small(source: str, target: str) -> None:
    """A large file is left empty: the tests read names, and compressing weights takes seconds."""
    if Path(source).stat().st_size > LARGEST_BYTES:
        Path(target).touch()
    else:
        shutil.copy(source, target)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy: setuptools leaves its work beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    # Fast kernels take ten seconds to compile. Here they only have to be there.
    project = (ROOT / "pyproject.toml").read_text()
    assert '"-O3"' in project
    (folder / "pyproject.toml").write_text(project.replace('"-O3"', '"-O0"'))
    for name in BUILT_FROM:
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.so")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored, copy_function=copy_small)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", folder / "out", folder], check=True, timeout=120)
    return zipfile.ZipFile(next((folder / "out").glob("*.whl")))


def test_every_file_of_the_packages_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    have = {
        (Path(place) / name).relative_to(folder.parent).as_posix()
        for folder in PACKAGES.values()
        # Into links too: the tiers stand in deploy/.
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if "__pycache__" not in place and not name.endswith(".so")
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name and not name.endswith(".so")}
    assert packed == have


@pytest.mark.skipif(
    shutil.which("c++") is None or platform.machine() != "x86_64", reason="nothing to build kernels with"
)
def test_the_wheel_holds_the_kernels_where_they_can_be_built(wheel: zipfile.ZipFile) -> None:
    built = {name.split(".")[0] for name in wheel.namelist() if name.endswith(".so")}
    assert built == {f"antiphon_kernels/native/frame_{level}" for level in ("v3", "v4")}


def test_the_wheel_offers_the_command_and_the_plugins(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    text = wheel.read(entry_points).decode()
    assert "antiphon = antiphon_server.cli.main:main" in text
    assert "antiphon = antiphon_executor.models.registry:register" in text
    for called in ("models.torchvision_ops:define_missing_operators", "ipc.import_pause:pause_collection"):
        assert f" = antiphon_executor.{called}" in text


def test_nothing_but_our_three_names_is_installed_at_top_level(wheel: zipfile.ZipFile) -> None:
    tops = {Path(name).parts[0] for name in wheel.namelist()}
    assert {top for top in tops if not re.fullmatch(r"antiphon-[\d.]+\.dist-info", top)} == {
        folder.name for folder in PACKAGES.values()
    }
