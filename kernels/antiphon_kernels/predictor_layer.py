"""The small operations between a predictor layer's matrix products: norms, rotation, cache, activation."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def add_norm(rows: Tensor, update: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """`rows` + `update`, and its RMS norm times `weight`: [..., hidden] each."""
    total = rows + update
    return total, functional.rms_norm(total, (total.shape[-1],), weight, eps)


def gated(gate_up: Tensor) -> Tensor:
    """SiLU of the first half times the second: [..., 2 * width] → [..., width]."""
    gate, up = gate_up.chunk(2, dim=-1)
    return functional.silu(gate) * up


def rotate_heads(
    heads: Tensor, cosine: Tensor, sine: Tensor, keys: Tensor, values: Tensor, start: int, eps: float
) -> Tensor:
    """Norms and rotates queries and keys, and writes keys and values into the cache from place `start`.

    `heads` [n, q, queries + 2 * kv_heads, head_dim]: queries, keys, values; `cosine`, `sine` [places, queries
    + kv_heads, head_dim], norm weights included, for halves that are swapped; `keys`, `values` [n, kv_heads,
    places, head_dim]. Returns the queries, [n, q, queries, head_dim].
    """
    kv_heads, size = keys.shape[1], heads.shape[-1]
    turning = heads.shape[2] - kv_heads
    end = start + heads.shape[1]
    even = functional.rms_norm(heads[:, :, :turning], (size,), eps=eps)
    turned = (even * cosine[start:end]).addcmul(even.roll(size // 2, -1), sine[start:end])
    keys[:, :, start:end] = turned[:, :, turning - kv_heads :].transpose(1, 2)
    values[:, :, start:end] = heads[:, :, turning:].transpose(1, 2)
    return turned[:, :, : turning - kv_heads]
