"""README's figures are those of RESULTS.md."""

from __future__ import annotations

import re

from tests.project.sources import ROOT

MEASURED = re.compile(r"^## Measured$(.*?)^## ", re.MULTILINE | re.DOTALL)


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
