"""Causal convolutions of a stream, one step at a time, channels last.

The input is a window `[tail | new input]` per stream, the output is that of the new input only. The caller
keeps the end of the window as the next tail.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Measured on AVX-512. Up to _FEW_ROWS output rows, one matrix product over copied taps is faster than
# oneDNN's convolution. Below _NARROW channels, the convolution is faster even for a single tap.
_FEW_ROWS = 160
_NARROW = 16


def _onednn_types() -> frozenset[torch.dtype]:
    """The dtypes that oneDNN's convolution supports on this machine: no bfloat16 without AVX-512."""
    if not torch.backends.mkldnn.is_available():
        return frozenset()
    bfloat16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return frozenset({torch.float32, torch.bfloat16} if bfloat16 else {torch.float32})


_ONEDNN_TYPES = _onednn_types()


def packed_conv_weight(out_channels: int, in_channels: int, kernel: int) -> Tensor:
    """An empty weight, shaped [out, in, kernel] as in the checkpoint, stored as (out, kernel, in)."""
    return torch.empty(out_channels, kernel, in_channels).transpose(1, 2)


def packed_transposed_weight(in_channels: int, out_channels: int, kernel: int) -> Tensor:
    """An empty weight, shaped [in, out, kernel] as in the checkpoint, stored as (kernel, out, in)."""
    return torch.empty(kernel, out_channels, in_channels).permute(2, 1, 0)


def reference(window: Tensor, weight: Tensor, bias: Tensor, dilation: int, groups: int) -> Tensor:
    """The definition: a convolution without padding.

    `window` [batch, tail + steps, in_channels], tail = (kernel - 1) * dilation; `weight` [out, in / groups,
    kernel]; `bias` [out]. Returns [batch, steps, out]. Source: `Qwen3OmniMoeCausalConvNet`.
    """
    return F.conv1d(window.transpose(1, 2), weight, bias, dilation=dilation, groups=groups).transpose(1, 2)


def on_cpu(window: Tensor, weight: Tensor, bias: Tensor, dilation: int, groups: int) -> Tensor:
    """`reference` by the fastest of PyTorch's ways for the size."""
    out_channels, in_channels, kernel = weight.shape
    if kernel == 1 and groups == 1 and in_channels >= _NARROW:
        return F.linear(window, weight.squeeze(-1), bias)
    batch, length, channels = window.shape
    steps = length - (kernel - 1) * dilation
    if groups > 1:
        taps = _taps(window, steps, kernel, dilation)
        return (taps * weight.squeeze(1).t()).sum(dim=2).add_(bias)
    if out_channels == 1:
        return _one_output(window, weight, bias, dilation)
    if batch * steps <= _FEW_ROWS:
        taps = _taps(window, steps, kernel, dilation).reshape(batch, steps, kernel * channels)
        return F.linear(taps, weight.transpose(1, 2).reshape(out_channels, kernel * in_channels), bias)
    return _onednn(window, weight, bias, dilation)


def _onednn(window: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
    """A 2-D convolution of height 1, channels last, so that input and output are not reordered.

    Calls oneDNN directly, because `F.conv2d` takes a much slower path for small batches of few channels.
    """
    image, weight = window.transpose(1, 2).unsqueeze(2), weight.unsqueeze(2)
    if window.is_cpu and window.dtype in _ONEDNN_TYPES:
        out = torch.mkldnn_convolution(image, weight, bias, (0, 0), (1, 1), (1, dilation), 1)
    else:
        out = F.conv2d(image, weight, bias, dilation=(1, dilation))
    return out.squeeze(2).transpose(1, 2)


def _taps(window: Tensor, steps: int, kernel: int, dilation: int) -> Tensor:
    """A view [batch, steps, kernel, channels] of the inputs of each output step."""
    batch, _, channels = window.shape
    stream, step, _ = window.stride()
    return window.as_strided((batch, steps, kernel, channels), (stream, step, dilation * step, 1))


def _one_output(window: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
    """One output channel: all taps at all places as one product, then a sum along diagonals, to use SIMD."""
    batch, length, _ = window.shape
    kernel = weight.shape[2]
    steps = length - (kernel - 1) * dilation
    product = torch.matmul(weight[0].t(), window.transpose(1, 2))
    diagonal = product.as_strided((batch, kernel, steps), (kernel * length, length + dilation, 1))
    return diagonal.sum(dim=1).add_(bias).unsqueeze(2)


def transposed_reference(window: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """The definition: a transposed convolution; step i outputs what the inputs up to i complete.

    `window` [batch, tail + steps, in_channels], tail = kernel / stride - 1; `weight` [in, out, kernel], with
    kernel a multiple of stride; `bias` [out]. Returns [batch, steps * stride, out]. Source:
    `Qwen3OmniMoeCausalTransConvNet`, which trims `kernel - stride` samples at both ends: at the beginning
    `snake` masks them (`lead_in`), at the end they are the look-ahead.
    """
    tail = weight.shape[2] // stride - 1
    full = F.conv_transpose1d(window.transpose(1, 2), weight, bias, stride=stride)
    return full[..., tail * stride : window.shape[1] * stride].transpose(1, 2)


def transposed_on_cpu(window: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """`transposed_reference` as one matrix product and a sum of shifted rows, without scatter."""
    batch, length, in_channels = window.shape
    out_channels, kernel = weight.shape[1:]
    lags = kernel // stride
    steps = length - lags + 1
    product = F.linear(window, weight.permute(2, 1, 0).reshape(kernel * out_channels, in_channels))
    product = product.view(batch, length, lags, stride * out_channels)
    out = product[:, lags - 1 :, 0]
    for lag in range(1, lags):
        out = out + product[:, lags - 1 - lag : length - lag, lag]
    return out.reshape(batch, steps * stride, out_channels).add_(bias)
