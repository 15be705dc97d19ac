"""Python imports this at the start of each process of a server that has this folder on its path.

In: files in the folder ANTIPHON_TEST_FAULTS. Out: the next call of the place that a file is named after takes
the file away and runs out of memory, in PyTorch's or Python's words. All places are in our own code.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

_FOLDER = os.environ.get("ANTIPHON_TEST_FAULTS", "")
_PLACES = {
    "antiphon_executor.models.talker.frame_step": [("talker", "FrameStep", "finish")],
    "antiphon_executor.models.qwen3_omni.thinker": [
        ("thinker", "Qwen3OmniThinker", "forward"),
        ("encoder", "Qwen3OmniThinker", "_process_audio_input"),
        ("weights", "Qwen3OmniThinker", "load_weights"),
    ],
}


def _out_of_memory(place: str) -> BaseException:
    import torch

    match place:
        case "talker":
            return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB (injected)")
        case "thinker":
            return RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory (injected)")
        case _:
            return MemoryError("injected")


def _failing(place: str, call: Callable[..., Any]) -> Callable[..., Any]:
    asked = Path(_FOLDER) / place

    @functools.wraps(call)
    def fails(*given: Any, **named: Any) -> Any:
        try:
            asked.unlink()
        except FileNotFoundError:
            return call(*given, **named)
        raise _out_of_memory(place)

    return fails


class _Wrapped(Loader):
    """A module's own loader; then the place in it may fail."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _wrap(module)


def _wrap(module: ModuleType) -> None:
    for place, owner, method in _PLACES[module.__name__]:
        kind = getattr(module, owner)
        setattr(kind, method, _failing(place, getattr(kind, method)))


class _Finder(MetaPathFinder):
    """Each of the modules is found once, and wrapped."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _PLACES or fullname in self._seen:
            return None
        self._seen.add(fullname)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Wrapped(spec.loader)
        return spec

    def __init__(self) -> None:
        self._seen: set[str] = set()


if _FOLDER:
    # A process that was forked has imported them.
    for name in _PLACES.keys() & sys.modules.keys():
        _wrap(sys.modules[name])
    sys.meta_path.insert(0, _Finder())
