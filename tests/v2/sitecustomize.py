"""Makes vLLM choose its V2 model runner on a CPU. Python imports it first if its folder is on PYTHONPATH.

CUDA gets V2, a CPU gets V1, because V2's small Triton kernels need a backend. Here they are interpreted. The
end of a Talker's step runs in the buckets of its CUDA graphs, each computed again in place of a replay.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def _interpret(module: ModuleType) -> None:
    """vLLM's module that decides about Triton says that it is there."""
    module.HAS_TRITON = True  # type: ignore[attr-defined]
    import triton  # noqa: F401 - Triton's own functions must be decorated before the interpreter is on

    os.environ["TRITON_INTERPRET"] = "1"


def _capture(module: ModuleType) -> None:
    """Our model states capture as soon as there is a cache; on a CPU vLLM captures nothing."""
    state: Any = module._SlotsByRequest  # type: ignore[attr-defined]
    allocated = state.initialize_kv_cache

    def initialize(self: Any, kv_cache_config: Any, block_tables: Any) -> None:
        allocated(self, kv_cache_config, block_tables)
        self.capture_inner_cudagraphs(None, block_tables, [], kv_cache_config)

    state.initialize_kv_cache = initialize
    module.cuda_capture = lambda: _recomputed  # type: ignore[attr-defined]


def _recomputed(run: Callable[[], Any]) -> Any:
    from antiphon_executor.models.talker.step.frame_graphs import Captured

    outputs = run()

    def replay() -> None:
        for old, new in zip(_tensors(outputs), _tensors(run()), strict=True):
            old.copy_(new)

    return Captured(replay, outputs)


def _tensors(outputs: Any) -> list[Any]:
    return [getattr(outputs, name) for name in outputs.__dataclass_fields__]


_AFTERWARDS = {
    "vllm.triton_utils.importing": _interpret,
    "antiphon_executor.models.talker.step.model_state": _capture,
}


class _Changing(Loader):
    """A module's own loader; then the module is changed."""

    def __init__(self, inner: Loader, change: Callable[[ModuleType], None]) -> None:
        self._inner, self._change = inner, change

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._inner.exec_module(module)
        self._change(module)


class _Finder(MetaPathFinder):
    """Finds each of those modules, once."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        change = _AFTERWARDS.pop(name, None)
        if change is None:
            return None
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Changing(spec.loader, change)
        return spec


sys.meta_path.insert(0, _Finder())
