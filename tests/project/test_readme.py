"""README names only files and make targets that exist."""

from __future__ import annotations

import re

from tests.project.sources import ROOT

README = (ROOT / "README.md").read_text()


def test_files_that_the_readme_names_exist() -> None:
    for name in re.findall(r"\]\(([\w./-]+)\)", README) + re.findall(
        r"`((?:deploy|tests)/[\w./-]+)`", README
    ):
        assert (ROOT / name).exists(), name


def test_make_targets_that_the_readme_names_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", README)) <= targets
