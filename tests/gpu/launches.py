"""Counts the kernels that a piece of code launches on a GPU, on the meta device: PyTorch's and Triton's.

A view launches nothing, an allocation neither; every other operation of PyTorch counts as one launch. An
operation that also takes a tensor of the host would copy it, and wait for all that runs on the device.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from triton.backends.compiler import GPUTarget
from triton.compiler import make_backend
from triton.runtime.jit import JITFunction, create_function_from_signature

from antiphon_kernels import (
    dispatch,
    draw_triton,
    frame_embedding_triton,
    predictor_layer_triton,
    snake_triton,
    stream_conv_triton,
)

_ALLOCATIONS = ("aten.empty", "aten.new_empty", "aten.empty_like", "aten.detach", "aten._unsafe_view")
_AHEAD = {"aten.lift_fresh", "aten.alias"}


@dataclass
class Specialisation:
    """One kernel as Triton would compile it: what it must know at compile time."""

    kernel: JITFunction[Any]
    signature: Mapping[str, str]
    constants: Mapping[tuple[int, ...], Any]
    attributes: Mapping[tuple[int, ...], Any]

    @property
    def name(self) -> str:
        return f"{self.kernel.module.rpartition('.')[2]}.{self.kernel.__name__}"


@dataclass
class Launches:
    """`by_name` counts launches; `specialisations` are the Triton kernels to compile, by a key.

    `from_host` counts the operations that mix tensors of the host with those of the device.
    """

    by_name: Counter[str] = field(default_factory=Counter)
    from_host: Counter[str] = field(default_factory=Counter)
    specialisations: dict[str, Specialisation] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return self.by_name.total()


def joined(*parts: Launches) -> Launches:
    """All launches of the parts."""
    whole = Launches()
    for part in parts:
        whole.by_name += part.by_name
        whole.from_host += part.from_host
        whole.specialisations |= part.specialisations
    return whole


class _Counting(TorchDispatchMode):
    def __init__(self, launches: Launches) -> None:
        super().__init__()
        self._launches = launches

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func.overloadpacket)
        if not (func.is_view or name.startswith(_ALLOCATIONS) or name in _AHEAD):
            self._launches.by_name[name] += 1
        operands = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        if len({one.device.type for one in operands}) > 1:
            self._launches.from_host[name] += 1
        return func(*args, **(kwargs or {}))


class _Recording:
    """In place of `JITFunction.run`: records the specialisation by Triton's own binder; nothing runs."""

    def __init__(self, launches: Launches) -> None:
        self._launches = launches
        self._backend = make_backend(GPUTarget("cuda", 90, 32))

    def run(self, kernel: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        binder = create_function_from_signature(kernel.signature, kernel.params, self._backend)
        bound, specialization, options = binder(*args, **kwargs)
        _, signature, constants, attributes = kernel._pack_args(
            self._backend, dict(kwargs), bound, specialization, options
        )
        found = Specialisation(kernel, signature, constants, attributes)
        self._launches.by_name[f"triton.{found.name}"] += 1
        key = json.dumps([found.name, signature, str(constants), str(attributes)], sort_keys=True)
        self._launches.specialisations[key] = found


@contextmanager
def counting() -> Iterator[Launches]:
    """Counts what is launched inside, with the Triton kernels chosen as for CUDA tensors."""
    launches = Launches()
    chosen = {
        "snake": snake_triton.snake,
        "stream_conv": stream_conv_triton.stream_conv,
        "stream_transposed_conv": stream_conv_triton.stream_transposed_conv,
        "frame_embedding": frame_embedding_triton.frame_embedding,
        "draw": draw_triton.draw,
        "add_norm": predictor_layer_triton.add_norm,
        "gated": predictor_layer_triton.gated,
        "rotate_heads": predictor_layer_triton.rotate_heads,
    }
    before = {name: getattr(dispatch, name) for name in chosen}
    run, recording = JITFunction.run, _Recording(launches)
    JITFunction.run = lambda kernel, *args, **kwargs: recording.run(kernel, *args, **kwargs)
    for name, function in chosen.items():
        setattr(dispatch, name, function)
    try:
        with _Counting(launches), torch.inference_mode():
            yield launches
    finally:
        JITFunction.run = run
        for name, function in before.items():
            setattr(dispatch, name, function)
