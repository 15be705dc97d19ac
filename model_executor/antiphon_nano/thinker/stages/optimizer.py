"""The optimizer of every stage: AdamW with weight decay for matrices alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import AdamW

_DECAY = 0.05


def optimizer_of(*modules: nn.Module, slower: Sequence[nn.Module] = (), share: float = 1.0) -> AdamW:
    """Weight decay for matrices alone. `slower` modules learn at `share` of the rate."""
    groups = [*_groups(modules, 1.0), *_groups(slower, share)]
    return AdamW(groups, betas=(0.9, 0.98), fused=True)


def _groups(modules: Sequence[nn.Module], share: float) -> list[dict[str, Any]]:
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    split = [([p for p in parameters if p.ndim >= 2], _DECAY), ([p for p in parameters if p.ndim < 2], 0.0)]
    return [{"params": params, "weight_decay": decay, "share": share} for params, decay in split if params]
