"""The one place where an operation's version is chosen: Triton for CUDA tensors, tuned torch for all others.

Model code calls these names only; what they compute is defined by the `reference` of the file that each names.
"""

from __future__ import annotations

from torch import Tensor

from antiphon_kernels import snake as _snake
from antiphon_kernels import stream_conv as _stream_conv


def snake(x: Tensor, rate: Tensor, gain: Tensor, tail: Tensor, alive: Tensor, late: int) -> Tensor:
    """`snake.reference`."""
    return _snake.on_cpu(x, rate, gain, tail, alive, late)


def stream_conv(window: Tensor, weight: Tensor, bias: Tensor, dilation: int, groups: int) -> Tensor:
    """`stream_conv.reference`."""
    return _stream_conv.on_cpu(window, weight, bias, dilation, groups)


def stream_transposed_conv(window: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """`stream_conv.transposed_reference`."""
    return _stream_conv.transposed_on_cpu(window, weight, bias, stride)
