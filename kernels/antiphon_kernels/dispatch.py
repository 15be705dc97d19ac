"""Selects an operation's version: Triton for CUDA tensors, tuned torch for all others.

Model code calls only these functions. The `reference` beside each operation defines what it computes. Triton
is imported at the first CUDA tensor, so that machines without a GPU do not need it.
"""

from __future__ import annotations

from torch import Tensor

from antiphon_kernels import draw as _draw
from antiphon_kernels import frame_embedding as _frame_embedding
from antiphon_kernels import predictor_layer as _predictor_layer
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


def draw(scores: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor, key: Tensor) -> Tensor:
    """One code of each row; shapes as in `draw.reference`."""
    if scores.is_cuda:
        from antiphon_kernels import draw_triton

        return draw_triton.draw(scores, temperature, top_k, top_p, key)
    return _draw.reference(scores, temperature, top_k, top_p, key)


def add_norm(rows: Tensor, update: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """A residual sum and its norm; shapes as in `predictor_layer.add_norm`."""
    if rows.is_cuda:
        from antiphon_kernels import predictor_layer_triton

        return predictor_layer_triton.add_norm(rows, update, weight, eps)
    return _predictor_layer.add_norm(rows, update, weight, eps)


def gated(gate_up: Tensor) -> Tensor:
    """SiLU of one half times the other; shapes as in `predictor_layer.gated`."""
    if gate_up.is_cuda:
        from antiphon_kernels import predictor_layer_triton

        return predictor_layer_triton.gated(gate_up)
    return _predictor_layer.gated(gate_up)


def rotate_heads(
    heads: Tensor, cosine: Tensor, sine: Tensor, keys: Tensor, values: Tensor, start: int, eps: float
) -> Tensor:
    """Normed and rotated heads, keys and values cached; shapes as in `predictor_layer.rotate_heads`."""
    if heads.is_cuda:
        from antiphon_kernels import predictor_layer_triton

        return predictor_layer_triton.rotate_heads(heads, cosine, sine, keys, values, start, eps)
    return _predictor_layer.rotate_heads(heads, cosine, sine, keys, values, start, eps)
