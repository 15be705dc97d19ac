"""Makes vLLM choose its V2 model runner on a CPU. Python imports it first if its folder is on PYTHONPATH.

CUDA gets V2, a CPU gets V1, because V2's small Triton kernels need a backend. Here they are interpreted.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_DECIDES = "vllm.triton_utils.importing"


class _Interpreting(Loader):
    """Loads vLLM's module that decides about Triton, and says afterwards that it is there."""

    def __init__(self, inner: Loader) -> None:
        self._inner = inner

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._inner.exec_module(module)
        module.HAS_TRITON = True  # type: ignore[attr-defined]
        import triton  # noqa: F401 - Triton's own functions must be decorated before the interpreter is on

        os.environ["TRITON_INTERPRET"] = "1"


class _Finder(MetaPathFinder):
    """Finds that one module, once."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _DECIDES:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Interpreting(spec.loader)
        return spec


sys.meta_path.insert(0, _Finder())
