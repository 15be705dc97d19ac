"""`snake` on a GPU: the activation, the mask and the window in one pass."""

# ruff: noqa: N803 - Triton's own spelling of compile-time constants
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 1024


# Triton compiles once more for a 1 and for multiples of 16; these change with the layer.
@triton.jit(do_not_specialize=["before", "steps", "lead_in"])
def _kernel(
    x: tl.tensor,
    rate: tl.tensor,
    gain: tl.tensor,
    tail: tl.tensor,
    started: tl.tensor,
    out: tl.tensor,
    channels: int,
    before: int,
    steps: int,
    lead_in: int,
    stream_stride: int,
    BLOCK: tl.constexpr,
) -> None:
    """One block of a stream's window. `stream_stride`: of `tail`, which is a view of the gathered state."""
    stream = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    width, past = (before + steps) * channels, before * channels
    inside, new = place < width, place >= past
    channel = place % channels
    frequency = tl.load(rate + channel, mask=inside, other=0.0)
    magnitude = tl.load(gain + channel, mask=inside, other=0.0)
    value = tl.load(x + stream * steps * channels + place - past, mask=inside & new, other=0.0).to(tl.float32)
    wave = tl.sin(value * frequency)
    value += magnitude * wave * wave
    begun = tl.load(started + stream).to(tl.float32)
    value = tl.where(place < past + lead_in * channels, value * begun, value)
    old = tl.load(tail + stream * stream_stride + place, mask=inside & (place < past), other=0.0)
    result = tl.where(new, value.to(out.dtype.element_ty), old)
    tl.store(out + stream * width + place, result, mask=inside)


def snake(x: Tensor, rate: Tensor, gain: Tensor, tail: Tensor, started: Tensor, lead_in: int) -> Tensor:
    """As `snake.reference`: [batch, steps, channels] → [batch, tail_steps + steps, channels]."""
    batch, steps, channels = x.shape
    before = tail.shape[1]
    out = torch.empty(batch, before + steps, channels, dtype=x.dtype, device=x.device)
    grid = (triton.cdiv((before + steps) * channels, _BLOCK), batch)
    _kernel[grid](
        x.contiguous(),
        rate,
        gain,
        tail,
        started,
        out,
        channels,
        before,
        steps,
        lead_in,
        tail.stride(0),
        BLOCK=_BLOCK,
    )
    return out
