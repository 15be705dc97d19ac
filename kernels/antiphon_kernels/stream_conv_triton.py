"""`stream_conv` on a GPU: convolutions as matrix products over the window, without copying taps.

A small batch has few output tiles, so each is summed by several programs, over parts of taps and inputs.
"""

# ruff: noqa: N803 - Triton's own spelling of compile-time constants
from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

_DEPTHWISE_BLOCK = 256
_SUM_BLOCK = 1024
# Two programs for each of an H100's multiprocessors; a part has at least four steps of its loop.
_ENOUGH_PROGRAMS, _MOST_PARTS, _LEAST_STEPS = 264, 16, 4


# Triton compiles once more for a 1 and for multiples of 16; these change with the batch and the layer.
@triton.jit(
    do_not_specialize=["rows", "steps", "length", "bias_period", "dilation", "taps", "parts", "part_steps"]
)
def _product(
    window: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    out: tl.tensor,
    partial: tl.tensor,
    rows: int,
    steps: int,
    length: int,
    inputs: int,
    outputs: int,
    bias_period: int,
    dilation: int,
    taps: int,
    parts: int,
    part_steps: int,
    output_stride: int,
    tap_stride: int,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
) -> None:
    """out[row, n] = bias[n % bias_period] + sum over taps and inputs of window[row + tap] weight[n, tap].

    One of several parts of the sum goes to `partial` [parts, rows, outputs], without the bias.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    part = tl.program_id(2)
    depth = tl.arange(0, DEPTH)
    row_inside, column_inside = row < rows, column < outputs
    first = (row // steps).to(tl.int64) * length + row % steps
    tap_steps = (inputs + DEPTH - 1) // DEPTH
    end = tl.minimum((part + 1) * part_steps, taps * tap_steps)
    total = tl.full([ROWS, COLUMNS], 0.0, tl.float32)
    for step in range(part * part_steps, end):
        tap = step // tap_steps
        channel = (step % tap_steps) * DEPTH + depth
        channel_inside = channel < inputs
        read = tl.load(
            window + (first + tap * dilation)[:, None] * inputs + channel[None, :],
            mask=row_inside[:, None] & channel_inside[None, :],
            other=0.0,
        )
        factor = tl.load(
            weight + column[None, :] * output_stride + tap * tap_stride + channel[:, None],
            mask=column_inside[None, :] & channel_inside[:, None],
            other=0.0,
        )
        # Three products of tf32 are as exact as float32, and tensor cores compute them.
        total = tl.dot(read, factor, total, input_precision="tf32x3")
    inside = row_inside[:, None] & column_inside[None, :]
    place = row.to(tl.int64)[:, None] * outputs + column[None, :]
    if parts == 1:
        total += tl.load(bias + column % bias_period, mask=column_inside, other=0.0).to(tl.float32)[None, :]
        tl.store(out + place, total.to(out.dtype.element_ty), mask=inside)
    else:
        tl.store(partial + part.to(tl.int64) * rows * outputs + place, total, mask=inside)


@triton.jit(do_not_specialize=["count", "outputs", "bias_period", "parts"])
def _sum(
    partial: tl.tensor,
    bias: tl.tensor,
    out: tl.tensor,
    count: int,
    outputs: int,
    bias_period: int,
    parts: int,
    BLOCK: tl.constexpr,
) -> None:
    """Adds the parts of `_product` in their order, and the bias."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = place < count
    column = place % outputs
    total = tl.load(bias + column % bias_period, mask=inside, other=0.0).to(tl.float32)
    for part in range(parts):
        total += tl.load(partial + part * count + place, mask=inside, other=0.0)
    tl.store(out + place, total.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["steps", "length", "dilation"])
def _depthwise(
    window: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    out: tl.tensor,
    steps: int,
    length: int,
    channels: int,
    dilation: int,
    TAPS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """One output step of one stream; `weight` is stored as (channel, tap)."""
    row = tl.program_id(0)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < channels
    first = (row // steps).to(tl.int64) * length + row % steps
    total = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    for tap in range(TAPS):
        read = tl.load(window + (first + tap * dilation) * channels + channel, mask=inside, other=0.0)
        total += read.to(tl.float32) * tl.load(weight + channel * TAPS + tap, mask=inside, other=0.0).to(
            tl.float32
        )
    place = row.to(tl.int64) * channels + channel
    tl.store(out + place, total.to(out.dtype.element_ty), mask=inside)


@dataclass(frozen=True, slots=True)
class Tiles:
    """The shape of an output tile, the channels of one step of the sum, and the parts of that sum."""

    rows: int
    columns: int
    depth: int
    parts: int
    part_steps: int


def tiles(rows: int, outputs: int, inputs: int, taps: int, *, halves: bool) -> Tiles:
    """`halves`: the numbers have 16 bits. Of few kinds, because Triton compiles each kind once."""
    tile_rows = next((size for size in (16, 64) if rows <= size), 128)
    columns = 64 if outputs % 64 == 0 else min(32, max(16, triton.next_power_of_2(outputs)))
    widest = 64 if halves and inputs % 64 == 0 else 32
    depth = min(widest, max(16, triton.next_power_of_2(inputs)))
    programs = triton.cdiv(rows, tile_rows) * triton.cdiv(outputs, columns)
    steps = taps * triton.cdiv(inputs, depth)
    parts = max(1, min(triton.cdiv(_ENOUGH_PROGRAMS, programs), steps // _LEAST_STEPS, _MOST_PARTS))
    part_steps = triton.cdiv(steps, parts)
    return Tiles(tile_rows, columns, depth, triton.cdiv(steps, part_steps), part_steps)


def _multiply(
    window: Tensor,
    weight: Tensor,
    bias: Tensor,
    steps: int,
    shape: tuple[int, int],
    dilation: int,
    strides: tuple[int, int],
) -> Tensor:
    """`shape`: (outputs, taps); `strides`: of an output and of a tap in `weight`; inputs are adjacent."""
    (outputs, taps), (output_stride, tap_stride) = shape, strides
    batch, length, inputs = window.shape
    out = torch.empty(batch, steps, outputs, dtype=window.dtype, device=window.device)
    rows = batch * steps
    tile = tiles(rows, outputs, inputs, taps, halves=window.element_size() == 2)
    size = tile.parts * rows * outputs if tile.parts > 1 else 1
    partial = torch.empty(size, dtype=torch.float32, device=window.device)
    _product[triton.cdiv(rows, tile.rows), triton.cdiv(outputs, tile.columns), tile.parts](
        window.contiguous(),
        weight,
        bias,
        out,
        partial,
        rows,
        steps,
        length,
        inputs,
        outputs,
        bias.shape[0],
        dilation,
        taps,
        tile.parts,
        tile.part_steps,
        output_stride,
        tap_stride,
        ROWS=tile.rows,
        COLUMNS=tile.columns,
        DEPTH=tile.depth,
    )
    if tile.parts > 1:
        count = rows * outputs
        _sum[triton.cdiv(count, _SUM_BLOCK),](
            partial, bias, out, count, outputs, bias.shape[0], tile.parts, BLOCK=_SUM_BLOCK
        )
    return out


def stream_conv(window: Tensor, weight: Tensor, bias: Tensor, dilation: int, groups: int) -> Tensor:
    """As `stream_conv.reference`; `groups` is 1 or the number of channels. Packed weights are not copied."""
    batch, length, channels = window.shape
    outputs, inputs, taps = weight.shape
    steps = length - (taps - 1) * dilation
    if taps == 1 and groups == 1 and window.element_size() == 2:
        return functional.linear(window, weight.squeeze(-1), bias)
    weight = weight.transpose(1, 2).reshape(-1)
    if groups == 1:
        return _multiply(window, weight, bias, steps, (outputs, taps), dilation, (taps * inputs, inputs))
    out = torch.empty(batch, steps, channels, dtype=window.dtype, device=window.device)
    _depthwise[batch * steps, triton.cdiv(channels, _DEPTHWISE_BLOCK)](
        window.contiguous(),
        weight,
        bias,
        out,
        steps,
        length,
        channels,
        dilation,
        TAPS=taps,
        BLOCK=_DEPTHWISE_BLOCK,
    )
    return out


def stream_transposed_conv(window: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """As `stream_conv.transposed_reference`. Packed weights are not copied.

    Computed as a convolution with `stride` times the outputs, whose taps are the weight's strides, reversed.
    """
    batch, length, inputs = window.shape
    outputs, kernel = weight.shape[1:]
    lags = kernel // stride
    steps = length - lags + 1
    lag_stride = stride * outputs * inputs
    flat = weight.permute(2, 1, 0).reshape(-1)[(lags - 1) * lag_stride :]
    shape = (stride * outputs, lags)
    out = _multiply(window, flat, bias, steps, shape, 1, (inputs, -lag_stride))
    return out.view(batch, steps * stride, outputs)
