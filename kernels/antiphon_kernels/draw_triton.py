"""`draw` on a GPU: one launch a draw, in place of about fifty.

No row is sorted. The k-th best value and the end of the nucleus are found bit by bit: a count, or a sum of
probabilities, decides each bit of the threshold.
"""

# ruff: noqa: N803 - Triton's own spelling of compile-time constants
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from antiphon_kernels.draw import GOLDEN, MIX_1, MIX_2

_GOLDEN, _MIX_1, _MIX_2 = tl.constexpr(GOLDEN), tl.constexpr(MIX_1), tl.constexpr(MIX_2)
_LEAST = tl.constexpr(-(1 << 31))


@triton.jit
def _ordered(value: tl.tensor) -> tl.tensor:
    """int64 that are ordered as the float32 values are."""
    bits = value.to(tl.int32, bitcast=True)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).to(tl.int64)


@triton.jit
def _shifted(x: tl.tensor, BY: tl.constexpr) -> tl.tensor:
    return (x >> BY) & ((1 << (64 - BY)) - 1)


@triton.jit
def _uniform(key: tl.tensor, code: tl.tensor) -> tl.tensor:
    """As `draw.uniform`."""
    x = key + (code.to(tl.int64) + 1) * _GOLDEN
    x = (x ^ _shifted(x, 30)) * _MIX_1
    x = (x ^ _shifted(x, 27)) * _MIX_2
    x = x ^ _shifted(x, 31)
    return (_shifted(x, 41).to(tl.float32) + 0.5) * (1.0 / 8388608.0)


@triton.jit(do_not_specialize_on_alignment=["key"])
def _kernel(
    scores: tl.tensor,
    temperature: tl.tensor,
    top_k: tl.tensor,
    top_p: tl.tensor,
    key: tl.tensor,
    out: tl.tensor,
    vocab: int,
    BLOCK: tl.constexpr,
) -> None:
    """One row."""
    row = tl.program_id(0).to(tl.int64)
    code = tl.arange(0, BLOCK)
    inside = code < vocab
    score = tl.load(scores + row * vocab + code, mask=inside, other=float("-inf"))
    heat = tl.load(temperature + row)
    value = tl.div_rn(score, tl.where(heat > 0, heat, 1.0))
    order = _ordered(value)
    most = tl.minimum(tl.load(top_k + row), vocab)
    threshold = tl.full([], _LEAST, tl.int64)
    for bit in range(32):
        higher = threshold + (tl.full([], 1, tl.int64) << (31 - bit))
        enough = tl.sum(((order >= higher) & inside).to(tl.int32)) >= most
        threshold = tl.where(enough, higher, threshold)
    kept = inside & (order >= threshold)
    weight = tl.where(kept, tl.exp(value - tl.max(value)), 0.0)
    share = tl.load(top_p + row)
    bound = (1.0 - share) * tl.sum(weight)
    end = tl.full([], _LEAST, tl.int64)
    for bit in range(32):
        higher = end + (tl.full([], 1, tl.int64) << (31 - bit))
        below = tl.sum(tl.where(order < higher, weight, 0.0))
        end = tl.where(below <= bound, higher, end)
    # The best code stays, however small the nucleus is; a share of 1 keeps all.
    end = tl.minimum(end, tl.max(tl.where(inside, order, _LEAST)))
    end = tl.where(share >= 1.0, _LEAST, end)
    kept = kept & (order >= end)
    noise = _uniform(tl.load(key + row), code)
    # In float64: the fast logarithm of float32 is wrong by a sixth if the noise is near 1, which wins.
    gumbel = -tl.log(-tl.log(noise.to(tl.float64))).to(tl.float32)
    drawn = tl.argmax(tl.where(kept, value + gumbel, float("-inf")), 0)
    best = tl.argmax(score, 0)
    tl.store(out + row, tl.where(heat > 0, drawn, best).to(tl.int64))


def draw(scores: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor, key: Tensor) -> Tensor:
    """As `draw.reference`, but every score equal to the k-th stays, also beyond `MAX_TOP_K` of them."""
    n, vocab = scores.shape
    out = torch.empty(n, dtype=torch.int64, device=scores.device)
    block = triton.next_power_of_2(vocab)
    _kernel[(n,)](
        scores.contiguous(),
        temperature,
        top_k,
        top_p,
        key.contiguous(),
        out,
        vocab,
        BLOCK=block,
        num_warps=8,
    )
    return out
