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
# These read only some rows of their first operand.
_GATHERS = {"aten.index", "aten.index_select", "aten.embedding", "aten.gather"}
# These write only some rows of it.
_SCATTERS = {
    "aten.index_copy_",
    "aten.index_put_",
    "aten.index_fill_",
    "aten.scatter_",
    "aten._index_put_impl_",
}


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

    `from_host` counts the operations that mix tensors of the host with those of the device. `moved_bytes`:
    what kernels read and write, each tensor once a kernel; a part of it stays in caches.
    """

    by_name: Counter[str] = field(default_factory=Counter)
    from_host: Counter[str] = field(default_factory=Counter)
    specialisations: dict[str, Specialisation] = field(default_factory=dict)
    moved_bytes: int = 0

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
        whole.moved_bytes += part.moved_bytes
    return whole


class _Counting(TorchDispatchMode):
    def __init__(self, launches: Launches) -> None:
        super().__init__()
        self._launches = launches

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func.overloadpacket)
        operands = _tensors((args, kwargs))
        if len({one.device.type for one in operands}) > 1:
            self._launches.from_host[name] += 1
        outputs = func(*args, **(kwargs or {}))
        if not (func.is_view or name.startswith(_ALLOCATIONS) or name in _AHEAD):
            self._launches.by_name[name] += 1
            self._launches.moved_bytes += _moved_bytes(name, operands, _tensors(outputs))
        return outputs


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [one for one in tree_leaves(tree) if isinstance(one, torch.Tensor)]


def _moved_bytes(name: str, operands: list[torch.Tensor], outputs: list[torch.Tensor]) -> int:
    if name in _GATHERS:
        return sum(one.nbytes for one in operands[1:]) + 2 * sum(one.nbytes for one in outputs)
    if name in _SCATTERS:
        return 2 * sum(one.nbytes for one in operands[1:])
    return sum(one.nbytes for one in operands) + sum(one.nbytes for one in outputs)


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
        self._launches.moved_bytes += sum(one.nbytes for one in _tensors(list(bound.values())))
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
