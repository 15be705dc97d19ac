"""A pytest plugin that lets one module be imported changed: `MUTANT=module:number`, see `mutations.py`."""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from itertools import islice
from types import CodeType, ModuleType

from tests.mutants.mutations import mutations


class _Changed(SourceFileLoader):
    number = 0

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path).decode()
        mutation = next(islice(mutations(source), self.number, None))
        return compile(mutation.tree, self.path, "exec")


class _Finder(MetaPathFinder):
    def __init__(self, module: str, number: int) -> None:
        self._module = module
        self._number = number

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._module:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.origin is not None
        loader = _Changed(fullname, spec.origin)
        loader.number = self._number
        return importlib.machinery.ModuleSpec(fullname, loader, origin=spec.origin)


if given := os.environ.get("MUTANT"):
    name, _, at = given.rpartition(":")
    assert name not in sys.modules
    sys.meta_path.insert(0, _Finder(name, int(at)))
