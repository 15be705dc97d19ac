"""Plain technical English in code and documents, and README's figures are those of RESULTS.md."""

from __future__ import annotations

import ast
import re

from tests.project.sources import ROOT, product, tracked_texts

# The gap may hold a line break and the next line's comment sign.
GAP = r"[\s#]+"
IDIOM = re.compile(
    r"\b(whoever|nobody|somebody|"
    + "|".join(
        phrase.replace(" ", GAP)
        for phrase in ("is told", "are told", "said so", "lets in", "let in", "gives way", "runs dry")
    )
    + r")\b",
    re.IGNORECASE,
)
FOLDERS = ("server/", "model_executor/", "kernels/", "deploy/")
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "tests/RESULTS.md", "Makefile", ".ci/run")
MEASURED = re.compile(r"^## Measured$(.*?)^## ", re.MULTILINE | re.DOTALL)


def test_no_idiom_in_code_and_documents() -> None:
    found = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}"
        for name, text in tracked_texts().items()
        if name.startswith(FOLDERS) or name in DOCUMENTS
        for match in IDIOM.finditer(text)
    ]
    assert not found, "\n  ".join(["", *found])


def test_a_module_docstring_has_at_most_four_lines() -> None:
    long = [
        f"{source.name}: {len(docstring.splitlines())} lines"
        for source in product()
        if len((docstring := ast.get_docstring(source.tree) or "").splitlines()) > 4
    ]
    assert not long, "\n  ".join(["", *long])


def rows(text: str) -> list[list[str]]:
    """The cells of each table row, without header and rule."""
    lines = [line.strip() for line in text.splitlines()]
    tables = re.findall(r"^(?:\|.*\|\n?)+", "\n".join(lines), re.MULTILINE)
    return [
        [cell.strip(" *") for cell in line.strip("|").split("|")]
        for table in tables
        for line in table.splitlines()[2:]
    ]


def test_the_figures_of_the_readme_are_those_of_the_results() -> None:
    """In section "Measured" of README, each table cell but the first of a row is a cell of RESULTS.md too."""
    section = MEASURED.search((ROOT / "README.md").read_text())
    assert section, "README has no section Measured"
    figures = [cell for row in rows(section[1]) for cell in row[1:] if re.search(r"\d", cell)]
    assert figures
    measured = {cell for row in rows((ROOT / "tests/RESULTS.md").read_text()) for cell in row}
    assert [figure for figure in figures if figure not in measured] == []
