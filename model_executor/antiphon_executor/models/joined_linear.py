"""Linear layers with the same input, joined so that one product computes them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def joined_weight(*layers: nn.Linear) -> Tensor:
    """The layers' weights in one tensor; each weight becomes a view of it, without a copy."""
    joined = torch.cat([layer.weight.detach() for layer in layers])
    parts = joined.split([layer.out_features for layer in layers])
    for layer, part in zip(layers, parts, strict=True):
        layer.weight.data = part
    return joined


def joined_bias(*layers: nn.Linear) -> Tensor | None:
    """A copy of the layers' biases in one tensor; None if they have none."""
    biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
    return torch.cat(biases) if biases else None
