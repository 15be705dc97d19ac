"""ARCHITECTURE.md's file table, out of the docstrings: `python -m tests.project.architecture` writes it."""

from __future__ import annotations

import ast
from itertools import groupby
from pathlib import Path, PurePosixPath

from tests.project.sources import ROOT, Source, product

PAGE = ROOT / "ARCHITECTURE.md"
BEGIN, END = "<!-- files -->\n", "<!-- /files -->\n"


def told() -> str:
    """What the page says now, between the marks."""
    return PAGE.read_text().split(BEGIN)[1].split(END)[0]


def listed() -> list[Source]:
    """Every module; a package's `__init__.py` only where it has code."""
    return [source for source in product() if source.path.name != "__init__.py" or has_code(source)]


def has_code(source: Source) -> bool:
    return any(not isinstance(node, ast.Expr) for node in source.tree.body)


def table() -> str:
    """What the page should say."""
    parts = []
    for folder, sources in groupby(listed(), lambda source: str(PurePosixPath(source.name).parent)):
        rows = "".join(f"| `{Path(source.name).name}` | {summary(source)} |\n" for source in sources)
        parts.append(f"### `{folder}/`\n\n| file | what it is |\n|---|---|\n{rows}")
    return "\n" + "\n".join(parts) + "\n"


def summary(source: Source) -> str:
    """The docstring's first paragraph, on one line."""
    docstring = ast.get_docstring(source.tree) or ""
    return " ".join(docstring.split("\n\n")[0].split()).replace("|", "\\|")


def write() -> None:
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.split(END)[1])


if __name__ == "__main__":
    write()
