"""`stream_conv` on a GPU: convolutions as matrix products over the window, without copying taps."""

# ruff: noqa: N803 - Triton's own spelling of compile-time constants
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_DEPTHWISE_BLOCK = 256


# Triton compiles once more for a 1 and for multiples of 16; these change with the batch and the layer.
@triton.jit(do_not_specialize=["rows", "steps", "length", "bias_period", "dilation"])
def _product(
    window: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    out: tl.tensor,
    rows: int,
    steps: int,
    length: int,
    inputs: int,
    outputs: int,
    bias_period: int,
    dilation: int,
    output_stride: int,
    tap_stride: int,
    TAPS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
) -> None:
    """out[row, n] = bias[n % bias_period] + sum over taps and inputs of window[row + tap] weight[n, tap]."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    depth = tl.arange(0, DEPTH)
    row_inside, column_inside = row < rows, column < outputs
    first = (row // steps).to(tl.int64) * length + row % steps
    total = tl.full([ROWS, COLUMNS], 0.0, tl.float32)
    for tap in range(TAPS):
        for begin in range(0, inputs, DEPTH):
            channel = begin + depth
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
            total = tl.dot(read, factor, total, input_precision="ieee")
    total += tl.load(bias + column % bias_period, mask=column_inside, other=0.0).to(tl.float32)[None, :]
    tl.store(
        out + row.to(tl.int64)[:, None] * outputs + column[None, :],
        total.to(out.dtype.element_ty),
        mask=row_inside[:, None] & column_inside[None, :],
    )


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
    tile_rows = min(64, max(16, triton.next_power_of_2(rows)))
    tile_columns = min(32, max(16, triton.next_power_of_2(outputs)))
    depth = min(64, max(16, triton.next_power_of_2(inputs)))
    _product[triton.cdiv(rows, tile_rows), triton.cdiv(outputs, tile_columns)](
        window.contiguous(),
        weight,
        bias,
        out,
        rows,
        steps,
        length,
        inputs,
        outputs,
        bias.shape[0],
        dilation,
        output_stride,
        tap_stride,
        TAPS=taps,
        ROWS=tile_rows,
        COLUMNS=tile_columns,
        DEPTH=depth,
    )
    return out


def stream_conv(window: Tensor, weight: Tensor, bias: Tensor, dilation: int, groups: int) -> Tensor:
    """As `stream_conv.reference`; `groups` is 1 or the number of channels. Packed weights are not copied."""
    batch, length, channels = window.shape
    outputs, inputs, taps = weight.shape
    steps = length - (taps - 1) * dilation
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
