"""`make` lists its targets, and `make install` reports in one line what is wrong with a machine."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.project.sources import ROOT


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make:")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_make_alone_lists_every_target_that_a_person_needs() -> None:
    done = make()
    assert done.returncode == 0
    for target in ("install", "serve", "test", "lint", "lock", "image-test", "clean"):
        assert re.search(rf"^  make {target} +\w", done.stdout, re.MULTILINE)


def test_serve_hands_port_model_and_arguments_on() -> None:
    done = make("-n", "serve", "PORT=9001", "MODEL=/some/model", "ARGS=--dtype float32", "DEVICE=cpu")
    assert 'antiphon serve --model "/some/model" --port "9001" --dtype float32' in done.stdout


def test_serve_names_no_model_where_none_is_named() -> None:
    done = make("-n", "serve", "DEVICE=cpu", "-W", "lock/cpu.txt")
    assert re.search(r'antiphon serve +--port "8000"', done.stdout)


def test_a_python_that_does_not_fit_is_said_in_one_line(tmp_path: Path) -> None:
    done = make("install", f"VENV={tmp_path / 'venv'}", "DEVICE=cpu", "PYTHON=python2.7")
    assert "needs Python 3.11 to 3.14" in complaint(done)
    assert not (tmp_path / "venv" / "ready-cpu").exists()


def test_an_unknown_device_is_said_in_one_line(tmp_path: Path) -> None:
    assert "DEVICE is 'tpu'" in complaint(make("install", f"VENV={tmp_path / 'venv'}", "DEVICE=tpu"))


def test_a_full_disk_is_said_in_one_line(tmp_path: Path) -> None:
    small = tmp_path / "bin"
    small.mkdir()
    (small / "df").write_text("#!/bin/sh\necho Filesystem\necho disk 1 1 1048576 1% /\n")
    (small / "df").chmod(0o755)
    done = make("install", f"VENV={tmp_path / 'venv'}", "DEVICE=cpu", PATH=f"{small}:{os.environ['PATH']}")
    assert re.search(r"needs about \d+ GB of disk .*; 1 GB are free", complaint(done))


PYTHON = """#!/bin/sh
echo "$*" >>"$LOG"
case "$*" in *"-m venv"*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;; esac
"""


def programs(folder: Path, machine: str) -> str:
    """A PATH for a machine of this name, with room, and with a Python that only writes down its arguments."""
    folder.mkdir()
    system, processor = machine.split()
    scripts = {
        "uname": f'#!/bin/sh\n[ "$1" = -m ] && echo {processor} || echo {system}\n',
        "df": "#!/bin/sh\necho Filesystem\necho disk 1 1 99999999 1% /\n",
        "python3.11": PYTHON,
    }
    for name, script in scripts.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("machine", "device", "locks"),
    [
        ("Linux x86_64", "cpu", ["torch-cpu.txt", "cpu.txt"]),
        ("Linux aarch64", "cpu", ["torch-cpu.txt", "cpu-arm64.txt"]),
        ("Linux aarch64", "cuda", ["cuda-arm64.txt"]),
    ],
)
def test_a_machine_gets_the_locks_of_its_kind(
    machine: str, device: str, locks: list[str], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    done = subprocess.run(
        [ROOT / "lock/install.sh", tmp_path / "venv", device],
        env={"PATH": programs(tmp_path / "bin", machine), "LOG": str(log)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.findall(r"-r \S+/lock/(\S+)", log.read_text()) == locks


def test_a_machine_without_locks_is_said_in_one_line(tmp_path: Path) -> None:
    path = programs(tmp_path / "bin", "Darwin arm64")
    said = complaint(make("install", f"VENV={tmp_path / 'venv'}", "DEVICE=cpu", PATH=path))
    assert "this is Darwin on arm64" in said


@pytest.mark.parametrize(("machine", "stale"), [("Linux x86_64", False), ("Linux aarch64", True)])
def test_a_changed_lock_of_arm64_installs_again_on_arm64(machine: str, stale: bool, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    venv.mkdir()
    (venv / "ready-cpu").touch()
    command = ("-n", "install", f"VENV={venv}", "DEVICE=cpu", "-W", "lock/cpu-arm64.txt")
    said = make(*command, PATH=programs(tmp_path / "bin", machine)).stdout
    assert ("lock/install.sh" in said) is stale


@pytest.mark.parametrize("name", ["lock/cpu.txt", "lock/torch-cpu.txt", "pyproject.toml"])
def test_a_changed_lock_installs_again(name: str, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    venv.mkdir()
    (venv / "ready-cpu").touch()
    assert "lock/install.sh" not in make("-n", "install", f"VENV={venv}", "DEVICE=cpu").stdout
    assert "lock/install.sh" in make("-n", "install", f"VENV={venv}", "DEVICE=cpu", "-W", name).stdout
