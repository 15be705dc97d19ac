"""Write the hash-pinned locks: `make lock`, or `make lock UPGRADE=1` for newer releases.

In: the requirements of pyproject.toml, the engine's own, and the versions already locked.
Out, for Linux, Python 3.11 to 3.14: cpu.txt, cuda.txt, dev.txt for x86_64, cpu-arm64.txt and cuda-arm64.txt.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYPROJECT = HERE.parent / "pyproject.toml"
PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==[^\s;\\]+", re.MULTILINE)

# Never installed. torchaudio and torchcodec have no CPU build on PyPI, and a build that does not match torch
# breaks transformers at import; neither is used. fastapi-cli is a development server with a cloud client.
NEVER = ("torchaudio", "torchcodec", "fastapi-cli")


@dataclass(frozen=True)
class Lock:
    """One lock file: extras of pyproject.toml, `also` what they do not say, `never` what they ask in vain."""

    name: str
    extras: tuple[str, ...]
    also: tuple[str, ...] = ()
    never: tuple[str, ...] = NEVER
    beside: str | None = None  # the lock it is installed on top of: its packages are left out
    like: str | None = None  # the lock whose versions it has
    machine: str = "x86_64"

    @property
    def platform(self) -> str:
        return f"platform_machine == '{self.machine}' and sys_platform == 'linux'"


# What torch's CPU build asks for: its own metadata is not read here.
TORCH_NEEDS = ("sympy", "networkx", "jinja2", "fsspec", "filelock", "typing-extensions")
INTEL = "intel-cmplr-lib-ur==2024.2.1; platform_machine == 'x86_64'"
# torchvision must fit torch; Triton interprets our kernels in tests; intel-openmp asks for its runtime in its
# Linux wheel alone; setuptools builds the project.
CPU_ALSO = ("torchvision==0.28.0", "triton", INTEL, "setuptools==78.1.1")

LOCKS = (
    Lock("cpu", ("cpu",), (*CPU_ALSO, *TORCH_NEEDS), (*NEVER, "torch")),
    Lock("cuda", ("cuda",), ("setuptools==78.1.1",)),
    Lock("cpu-arm64", ("cpu",), (*CPU_ALSO, *TORCH_NEEDS), (*NEVER, "torch"), like="cpu", machine="aarch64"),
    Lock("cuda-arm64", ("cuda",), ("setuptools==78.1.1",), like="cuda", machine="aarch64"),
    # pocketsphinx has no wheel for arm64, so the tests' tools have no lock there.
    Lock("dev", ("test", "lint"), never=(*NEVER, "torch"), beside="cpu"),
)
EXPORT = ("--quiet", "--frozen", "--no-emit-project", "--no-annotate", "--no-header")


def locked(name: str) -> dict[str, str]:
    """Requirement by package; one with several versions (by Python) is left open. No file, no packages."""
    path = HERE / f"{name}.txt"
    found: dict[str, str] = {}
    several = set()
    for match in PINNED.finditer(path.read_text() if path.exists() else ""):
        several |= {match[1]} & found.keys()
        found[match[1]] = match[0]
    return {package: pin for package, pin in found.items() if package not in several}


def requirements(lock: Lock) -> list[str]:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    extras = [item for extra in lock.extras for item in project["optional-dependencies"][extra]]
    return [*project["dependencies"], *extras, *lock.also]


def resolve(lock: Lock, keep: dict[str, str]) -> str:
    """The lock's text as uv exports it: one block of `name==version` and `--hash` lines a package."""
    manifest = f"""
[project]
name = "lock"
version = "0"
requires-python = ">=3.11,<3.15"
dependencies = {requirements(lock)}
[tool.uv]
environments = ["{lock.platform}"]
override-dependencies = {[f"{package}; sys_platform == 'never'" for package in lock.never]}
constraint-dependencies = {list(keep.values())}
"""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pyproject.toml").write_text(manifest)
        subprocess.run([sys.executable, "-m", "uv", "lock", "--quiet"], cwd=folder, check=True)
        command = [sys.executable, "-m", "uv", "export", *EXPORT]
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


def tidy(exported: str, platform: str, leave_out: set[str]) -> str:
    """Without the markers that every line carries, and without the packages of the lock underneath."""
    exported = exported.replace(f" ; {platform}", "").replace(f" and {platform}", "")
    blocks = re.split(r"^(?=[a-z0-9])", exported, flags=re.MULTILINE)
    kept = [block for block in blocks if (match := PINNED.match(block)) and match[1] not in leave_out]
    return "".join(kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="newer releases, not those locked now")
    upgrade = parser.parse_args().upgrade
    for lock in LOCKS:
        beneath = locked(lock.beside) if lock.beside else {}
        before = {} if upgrade else locked(lock.name)
        keep = {**before, **(locked(lock.like) if lock.like else {}), **beneath}
        text = tidy(resolve(lock, keep), lock.platform, set(beneath))
        head = f"# Written by `make lock` for {lock.name}, Linux on {lock.machine}, Python 3.11 to 3.14.\n"
        (HERE / f"{lock.name}.txt").write_text(head + text)
        sys.stdout.write(f"lock/{lock.name}.txt: {len(PINNED.findall(text))} packages\n")


if __name__ == "__main__":
    main()
