"""ARCHITECTURE.md lists every file of the product as it is, and its story names only files that exist."""

from __future__ import annotations

import re

from tests.project.architecture import BEGIN, PAGE, listed, summary, table, told
from tests.project.sources import ROOT, product


def test_every_file_has_its_line_and_no_line_is_stale() -> None:
    assert told() == table(), "make architecture"


def test_every_file_says_what_it_is_in_a_line() -> None:
    for source in listed():
        assert 15 <= len(summary(source)) <= 200, source.name


def test_the_story_names_only_files_that_exist() -> None:
    story = PAGE.read_text().split(BEGIN)[0]
    known = {source.name for source in product()}
    for name in re.findall(r"`([\w/]+\.py)`", story):
        assert (ROOT / name).exists() or any(path.endswith("/" + name) for path in known), name


def test_the_story_is_told_in_numbered_steps() -> None:
    steps = re.findall(r"^(\d+)\. \*\*", PAGE.read_text(), re.MULTILINE)
    assert [int(step) for step in steps] == list(range(1, len(steps) + 1))
    assert len(steps) >= 8
