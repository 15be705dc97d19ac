"""`frame_embedding` on a GPU: one pass, without an intermediate [frames, groups, hidden]."""

# ruff: noqa: N803 - Triton's own spelling of compile-time constants
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 256


@triton.jit
def _kernel(
    codes: tl.tensor,
    table: tl.tensor,
    offsets: tl.tensor,
    text: tl.tensor,
    out: tl.tensor,
    hidden: int,
    GROUPS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """One block of channels of one frame."""
    frame = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < hidden
    total = tl.full([BLOCK], 0.0, tl.float32)
    for group in range(GROUPS):
        row = tl.load(codes + frame * GROUPS + group) + tl.load(offsets + group)
        total += tl.load(table + row * hidden + channel, mask=inside, other=0.0).to(tl.float32)
    place = frame * hidden + channel
    beside = tl.load(text + place, mask=inside, other=0.0).to(tl.float32)
    rounded = total.to(out.dtype.element_ty).to(tl.float32)
    tl.store(out + place, (rounded + beside).to(out.dtype.element_ty), mask=inside)


def frame_embedding(codes: Tensor, table: Tensor, offsets: Tensor, text: Tensor) -> Tensor:
    """As `frame_embedding.reference`: [frames, groups] codes → [frames, hidden]."""
    frames, groups = codes.shape
    hidden = table.shape[1]
    out = torch.empty(frames, hidden, dtype=table.dtype, device=table.device)
    grid = (frames, triton.cdiv(hidden, _BLOCK))
    _kernel[grid](
        codes.contiguous(), table, offsets, text.contiguous(), out, hidden, GROUPS=groups, BLOCK=_BLOCK
    )
    return out
