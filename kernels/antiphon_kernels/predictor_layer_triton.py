"""`predictor_layer` on a GPU: one launch for each operation, in place of two to six."""

# ruff: noqa: N803 - Triton's own spelling of compile-time constants
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_GATED_BLOCK = 1024


@triton.jit
def _add_norm(
    rows: tl.tensor,
    update: tl.tensor,
    weight: tl.tensor,
    total: tl.tensor,
    normed: tl.tensor,
    eps: float,
    HIDDEN: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """One row."""
    channel = tl.arange(0, BLOCK)
    inside = channel < HIDDEN
    place = tl.program_id(0).to(tl.int64) * HIDDEN + channel
    old = tl.load(rows + place, mask=inside, other=0.0).to(tl.float32)
    new = old + tl.load(update + place, mask=inside, other=0.0).to(tl.float32)
    rounded = new.to(total.dtype.element_ty)
    tl.store(total + place, rounded, mask=inside)
    value = rounded.to(tl.float32)
    scale = tl.rsqrt(tl.sum(value * value) / HIDDEN + eps)
    factor = tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    tl.store(normed + place, (value * scale * factor).to(normed.dtype.element_ty), mask=inside)


@triton.jit
def _gated(gate_up: tl.tensor, out: tl.tensor, width: int, BLOCK: tl.constexpr) -> None:
    """One block of a row."""
    row = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < width
    gate = tl.load(gate_up + row * 2 * width + channel, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * 2 * width + width + channel, mask=inside, other=0.0).to(tl.float32)
    active = (gate / (1.0 + tl.exp(-gate))).to(out.dtype.element_ty).to(tl.float32)
    tl.store(out + row * width + channel, (active * up).to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["steps", "start"])
def _rotate_heads(
    heads: tl.tensor,
    cosine: tl.tensor,
    sine: tl.tensor,
    queries: tl.tensor,
    keys: tl.tensor,
    values: tl.tensor,
    steps: int,
    start: int,
    places: int,
    eps: float,
    QUERIES: tl.constexpr,
    KV_HEADS: tl.constexpr,
    SIZE: tl.constexpr,
) -> None:
    """One head of one row."""
    row, head = tl.program_id(0), tl.program_id(1)
    stream, place = row // steps, start + row % steps
    channel = tl.arange(0, SIZE)
    swapped = (channel + SIZE // 2) % SIZE
    source = heads + (row.to(tl.int64) * (QUERIES + 2 * KV_HEADS) + head) * SIZE
    own = tl.load(source + channel)
    if head >= QUERIES + KV_HEADS:
        at = ((stream * KV_HEADS + head - QUERIES - KV_HEADS).to(tl.int64) * places + place) * SIZE
        tl.store(values + at + channel, own)
    else:
        kind = own.dtype
        wide = own.to(tl.float32)
        scale = tl.rsqrt(tl.sum(wide * wide) / SIZE + eps)
        even = (wide * scale).to(kind).to(tl.float32)
        other = (tl.load(source + swapped).to(tl.float32) * scale).to(kind).to(tl.float32)
        table = (place * (QUERIES + KV_HEADS) + head) * SIZE + channel
        first = (even * tl.load(cosine + table).to(tl.float32)).to(kind).to(tl.float32)
        turned = (first + other * tl.load(sine + table).to(tl.float32)).to(kind)
        if head < QUERIES:
            tl.store(queries + (row.to(tl.int64) * QUERIES + head) * SIZE + channel, turned)
        else:
            at = ((stream * KV_HEADS + head - QUERIES).to(tl.int64) * places + place) * SIZE
            tl.store(keys + at + channel, turned)


def add_norm(rows: Tensor, update: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """As `predictor_layer.add_norm`."""
    hidden = rows.shape[-1]
    total, normed = torch.empty_like(rows), torch.empty_like(rows)
    _add_norm[(rows.numel() // hidden,)](
        rows.contiguous(),
        update.contiguous(),
        weight,
        total,
        normed,
        eps,
        HIDDEN=hidden,
        BLOCK=triton.next_power_of_2(hidden),
    )
    return total, normed


def gated(gate_up: Tensor) -> Tensor:
    """As `predictor_layer.gated`."""
    width = gate_up.shape[-1] // 2
    out = gate_up.new_empty(*gate_up.shape[:-1], width)
    grid = (out.numel() // width, triton.cdiv(width, _GATED_BLOCK))
    _gated[grid](gate_up.contiguous(), out, width, BLOCK=_GATED_BLOCK)
    return out


def rotate_heads(
    heads: Tensor, cosine: Tensor, sine: Tensor, keys: Tensor, values: Tensor, start: int, eps: float
) -> Tensor:
    """As `predictor_layer.rotate_heads`; a head's size is a power of two, the cache is contiguous."""
    n, steps, count, size = heads.shape
    kv_heads, places = keys.shape[1:3]
    queries = heads.new_empty(n, steps, count - 2 * kv_heads, size)
    _rotate_heads[n * steps, count](
        heads.contiguous(),
        cosine,
        sine,
        queries,
        keys,
        values,
        steps,
        start,
        places,
        eps,
        QUERIES=count - 2 * kv_heads,
        KV_HEADS=kv_heads,
        SIZE=size,
    )
    return queries
