"""The folders of the real clients: one each under `.cache/conformance`, installed once, at pinned versions.

The tests of a client that cannot be installed are skipped (in CI a failure: ANTIPHON_NO_SKIPS).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_CLIENTS = Path(__file__).parent / "clients"
_INSTALL_S = 600


@dataclass(frozen=True)
class Home:
    """`package`: name and version as its package manager wants them, or None for what the tests run with."""

    name: str
    script: str
    package: str | None = None

    @property
    def folder(self) -> Path:
        return _ROOT / ".cache" / "conformance" / self.name

    @property
    def is_node(self) -> bool:
        return self.script.endswith(".mjs")

    def command(self, url: str) -> list[str]:
        script = str(_CLIENTS / self.script)
        return ["node", script, url, str(self.folder)] if self.is_node else [sys.executable, script, url]

    def environment(self) -> dict[str, str]:
        path = {"PYTHONPATH": str(self.folder)} if self.package and not self.is_node else {}
        return {**os.environ, **path}

    def install(self) -> None:
        """Install once; a stamp says that it was complete."""
        stamp = self.folder / "installed"
        if self.package is None or (stamp.is_file() and stamp.read_text() == self.package):
            return
        if self.is_node and shutil.which("npm") is None:
            pytest.skip("npm is not on this machine")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        node = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(self.folder)]
        pip = ("pip", "install", "--quiet", "--no-compile", "--target", str(self.folder))
        done = subprocess.run(
            [*(node if self.is_node else (sys.executable, "-m", *pip)), self.package],
            capture_output=True,
            text=True,
            timeout=_INSTALL_S,
            check=False,
            cwd=self.folder,
        )
        if done.returncode != 0:
            pytest.skip(f"{self.package} cannot be installed here: {done.stderr.strip()[-200:]}")
        stamp.write_text(self.package)


HOMES = {
    home.name: home
    for home in (
        Home("openai-python-3", "openai_python.py"),
        Home("openai-python-2", "openai_python.py", "openai==2.54.0"),
        Home("openai-node", "openai_node.mjs", "openai@7.55.0"),
        Home("litellm", "litellm_python.py", "litellm==1.106.2"),
    )
}
