"""Selects an operation's version: Triton for CUDA tensors, tuned torch for all others.

Model code calls only these functions. The `reference` beside each operation defines what it computes. Triton
is imported at the first CUDA tensor, so that machines without a GPU do not need it.
"""

from __future__ import annotations

from torch import Tensor

from antiphon_kernels import frame_embedding as _frame_embedding
from antiphon_kernels import snake as _snake
from antiphon_kernels import stream_conv as _stream_conv


def snake(x: Tensor, rate: Tensor, gain: Tensor, tail: Tensor, started: Tensor, lead_in: int) -> Tensor:
    """SnakeBeta into the next convolution's window; shapes as in `snake.reference`."""
    if x.is_cuda:
        from antiphon_kernels import snake_triton

        return snake_triton.snake(x, rate, gain, tail, started, lead_in)
    return _snake.on_cpu(x, rate, gain, tail, started, lead_in)


def stream_conv(window: Tensor, weight: Tensor, bias: Tensor, dilation: int, groups: int) -> Tensor:
    """A causal convolution of a stream; shapes as in `stream_conv.reference`."""
    if window.is_cuda:
        from antiphon_kernels import stream_conv_triton

        return stream_conv_triton.stream_conv(window, weight, bias, dilation, groups)
    return _stream_conv.on_cpu(window, weight, bias, dilation, groups)


def stream_transposed_conv(window: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """A causal transposed convolution; shapes as in `stream_conv.transposed_reference`."""
    if window.is_cuda:
        from antiphon_kernels import stream_conv_triton

        return stream_conv_triton.stream_transposed_conv(window, weight, bias, stride)
    return _stream_conv.transposed_on_cpu(window, weight, bias, stride)


def frame_embedding(codes: Tensor, table: Tensor, offsets: Tensor, text: Tensor) -> Tensor:
    """The Talker's input row of a code frame; shapes as in `frame_embedding.reference`."""
    if table.is_cuda:
        from antiphon_kernels import frame_embedding_triton

        return frame_embedding_triton.frame_embedding(codes, table, offsets, text)
    return _frame_embedding.reference(codes, table, offsets, text)
