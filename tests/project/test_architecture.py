"""ARCHITECTURE.md names every package, and only files that exist."""

from __future__ import annotations

import re

from tests.project.sources import PACKAGES, ROOT, product

PAGE = (ROOT / "ARCHITECTURE.md").read_text()


def test_every_package_of_server_and_executor_is_named() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))
    folders = {path.parent.name for name in ("server", "executor") for path in PACKAGES[name].glob("*/*.py")}
    assert folders - {"static", "shipped"} <= named


def test_the_files_that_it_names_exist() -> None:
    known = {source.name for source in product()}
    for name in re.findall(r"`([\w/]+\.py)`", PAGE):
        assert (ROOT / name).exists() or any(path.endswith("/" + name) for path in known), name


def test_a_request_is_told_in_eight_numbered_steps() -> None:
    assert re.findall(r"^(\d+)\. \*\*", PAGE, re.MULTILINE) == list("12345678")
