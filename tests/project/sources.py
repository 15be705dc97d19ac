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
class Import:
    """`module` is the full dotted name; `lazy`: inside a function; `typing_only`: under TYPE_CHECKING."""

    module: str
    lazy: bool
    typing_only: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


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

    def calls(self) -> Iterator[ast.Call]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.Call))

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def imports(self) -> list[Import]:
        found = _Imports()
        found.visit(self.tree)
        return found.found


class _Imports(ast.NodeVisitor):
    def __init__(self) -> None:
        self.found: list[Import] = []
        self._lazy = False
        self._typing_only = False

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [Import(alias.name, self._lazy, self._typing_only) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            self.found += [Import(name, self._lazy, self._typing_only) for name in names]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        before, self._lazy = self._lazy, True
        self.generic_visit(node)
        self._lazy = before

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]

    def visit_If(self, node: ast.If) -> None:
        before = self._typing_only
        self._typing_only = before or ast.unparse(node.test).endswith("TYPE_CHECKING")
        for child in node.body:
            self.visit(child)
        self._typing_only = before
        for child in node.orelse:
            self.visit(child)


@cache
def product(package: str | None = None) -> tuple[Source, ...]:
    """Python files of one package of the product, or of all three."""
    folders = [PACKAGES[package]] if package else PACKAGES.values()
    return tuple(_read(path) for folder in folders for path in sorted(folder.rglob("*.py")))


@cache
def suite() -> tuple[Source, ...]:
    return tuple(_read(path) for path in sorted((ROOT / "tests").rglob("*.py")))


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
