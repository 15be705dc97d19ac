"""ARCHITECTURE.md names every package, and only files that exist."""

from __future__ import annotations

import re

import grimp

from tests.project import import_graph
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


def test_the_life_of_a_request_has_eight_numbered_steps() -> None:
    assert re.findall(r"^(\d+)\. \*\*", PAGE, re.MULTILINE) == list("12345678")


def test_the_figures_of_the_structure_are_those_of_the_import_graph() -> None:
    """Rooms, cycles and the largest folder exactly; arrows may differ by three, as imports come and go."""
    graph = grimp.build_graph(*import_graph.PACKAGES, cache_dir=None)
    found = {package: import_graph.structure(graph, package) for package in import_graph.PACKAGES}
    for name in ("server", "executor"):
        row = re.search(rf"^\| {name} \|.*\| (\d+) rooms, (\d+) arrows, no cycle \|$", PAGE, re.MULTILINE)
        assert row, name
        structure = found[f"antiphon_{name}"]
        assert structure.rooms == int(row[1])
        assert abs(structure.arrows - int(row[2])) <= 3, f"{name}: {structure.arrows} arrows"
        assert not structure.cycles
    largest = re.search(r"^\| largest folder \|.*\| (\d+) modules \|$", PAGE, re.MULTILINE)
    assert largest
    assert int(largest[1]) == max(structure.largest[1] for structure in found.values())
