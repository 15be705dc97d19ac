"""The repository's own files as its tests see them: product modules, their syntax trees, tracked files."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "server": ROOT / "server" / "antiphon_server",
    "executor": ROOT / "model_executor" / "antiphon_executor",
    "kernels": ROOT / "kernels" / "antiphon_kernels",
}


@dataclass(frozen=True)
class Source:
    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def lines(self) -> int:
        return self.text.count("\n")

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def imports(self) -> Iterator[str]:
        """The full dotted names of what it imports absolutely."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield node.module


@cache
def product(package: str | None = None) -> tuple[Source, ...]:
    """Python files of one package of the product, or of all three."""
    folders = [PACKAGES[package]] if package else PACKAGES.values()
    return tuple(_read(path) for folder in folders for path in sorted(folder.rglob("*.py")))


@cache
def suite() -> tuple[Source, ...]:
    return tuple(_read(path) for path in sorted((ROOT / "tests").rglob("*.py")))


@cache
def _read(path: Path) -> Source:
    text = path.read_text()
    return Source(path, text, ast.parse(text))


@cache
def tracked_texts() -> dict[str, str]:
    """Every tracked file that is text, by its path."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    found = {}
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if name and path.is_file():
            try:
                found[name] = path.read_text()
            except UnicodeDecodeError:
                continue
    return found
