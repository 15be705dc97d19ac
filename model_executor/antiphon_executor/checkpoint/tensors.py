"""Single tensors of a checkpoint folder, read without the rest of its weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open


def tensor_names(model: Path) -> Iterator[str]:
    for file in sorted(model.glob("*.safetensors")):
        with safe_open(file, framework="pt") as shard:
            yield from shard.keys()


def read_tensor(model: Path, name: str) -> torch.Tensor | None:
    """None if no file has it."""
    for file in sorted(model.glob("*.safetensors")):
        with safe_open(file, framework="pt") as shard:
            if name in shard.keys():  # noqa: SIM118 - safe_open is not a mapping
                return shard.get_tensor(name)
    return None
