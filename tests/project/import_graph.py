"""Rooms, arrows, cycles and the largest folder of each package: `python -m tests.project.import_graph`.

A room is a module or folder directly below the package, an arrow an import from one room to another.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import grimp

PACKAGES = ("antiphon_server", "antiphon_executor", "antiphon_kernels")


@dataclass(frozen=True, slots=True)
class Structure:
    """`cycles`: rooms that import each other. `largest`: the folder with most modules, and their number."""

    rooms: int
    arrows: int
    cycles: tuple[frozenset[str], ...]
    largest: tuple[str, int]


def structure(graph: grimp.ImportGraph, package: str) -> Structure:
    modules = [module for module in graph.modules if module.startswith(f"{package}.")]
    arrows = {
        (_room(module), _room(imported))
        for module in modules
        for imported in graph.find_modules_directly_imported_by(module)
        if imported.startswith(f"{package}.") and _room(module) != _room(imported)
    }
    leaves = [module for module in modules if not graph.find_children(module)]
    folders = Counter(module.rpartition(".")[0] for module in leaves)
    return Structure(
        len({_room(m) for m in modules}), len(arrows), _cycles(arrows), folders.most_common(1)[0]
    )


def _room(module: str) -> str:
    return module.split(".")[1]


def _cycles(arrows: set[tuple[str, str]]) -> tuple[frozenset[str], ...]:
    """The strongly connected groups of more than one room."""
    reached: dict[str, set[str]] = defaultdict(set)
    for start, _ in arrows:
        ahead = [start]
        while ahead:
            room = ahead.pop()
            new = {to for at, to in arrows if at == room} - reached[start]
            reached[start] |= new
            ahead.extend(new)
    groups = {frozenset(b for b in reached[a] if a in reached[b]) for a in reached if a in reached[a]}
    return tuple(sorted(groups, key=sorted))


def main() -> None:
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    for package in PACKAGES:
        found = structure(graph, package)
        print(
            f"{package}: {found.rooms} rooms, {found.arrows} arrows, {len(found.cycles)} cycles; "
            f"largest folder: {found.largest[0]}, {found.largest[1]} modules"
        )


if __name__ == "__main__":
    main()
