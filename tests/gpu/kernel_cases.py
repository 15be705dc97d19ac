"""Every Triton kernel of a Talker step beside its reference, at the released sizes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from antiphon_kernels import dispatch, draw, frame_embedding, predictor_layer
from antiphon_kernels import snake as snake_operation
from antiphon_kernels import stream_conv as conv_operation
from tests.gpu.released_step import GROUPS, HIDDEN

Case = tuple[str, Callable[[], Tensor], Callable[[], Tensor]]
"""A kernel's name, its call, and its reference's."""


def kernel_cases(batch: int, dtype: torch.dtype, device: torch.device) -> list[Case]:
    """Random inputs in `dtype` for `batch` streams."""
    torch.manual_seed(0)
    normal = partial(_normal, device=device, dtype=dtype)
    return [*_vocoder_kernels(batch, normal), *_predictor_kernels(batch, normal, device)]


def _normal(*shape: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.randn(*shape, device=device).to(dtype)


def _vocoder_kernels(batch: int, normal: Callable[..., Tensor]) -> list[Case]:
    rate, gain = snake_operation.constants(normal(192).float(), normal(192).float())
    tail, x = normal(batch, 54, 192), normal(batch, 160, 192)
    started = torch.ones_like(x[:, :1, :1])
    window, weight, bias = normal(batch, 66, 768), normal(768, 768, 7) * 0.01, normal(768)
    wide, by_channel = normal(batch, 10, 1_024), normal(1_024, 1, 7)
    below, widening, narrow = normal(batch, 5, 1_536), normal(1_536, 768, 16) * 0.01, normal(768)
    own, plain = dispatch, conv_operation
    return [
        (
            "snake",
            lambda: own.snake(x, rate, gain, tail, started, 8),
            lambda: snake_operation.reference(x, rate, gain, tail, started, 8),
        ),
        (
            "stream_conv",
            lambda: own.stream_conv(window, weight, bias, 3, 1),
            lambda: plain.reference(window, weight, bias, 3, 1),
        ),
        (
            "stream_conv by channel",
            lambda: own.stream_conv(wide, by_channel, wide[0, 0], 1, 1_024),
            lambda: plain.reference(wide, by_channel, wide[0, 0], 1, 1_024),
        ),
        (
            "stream_transposed_conv",
            lambda: own.stream_transposed_conv(below, widening, narrow, 8),
            lambda: plain.transposed_reference(below, widening, narrow, 8),
        ),
    ]


def _predictor_kernels(batch: int, normal: Callable[..., Tensor], device: torch.device) -> list[Case]:
    codes = torch.randint(0, 2_048, (batch, GROUPS), device=device)
    table = normal(3_072 + (GROUPS - 1) * 2_048, HIDDEN)
    offsets = torch.arange(GROUPS, device=device) * 2_048
    text, update, scale = normal(batch, HIDDEN), normal(batch, HIDDEN), normal(HIDDEN)
    gate_up = normal(batch, 1, 6_144)
    heads, cosine, sine = normal(batch, 1, 32, 128), normal(GROUPS, 24, 128), normal(GROUPS, 24, 128)
    cached = normal(2, batch, 8, GROUPS, 128)
    turning = (heads, cosine, sine, *cached, 5, 1e-6)
    ones = torch.ones(batch, device=device)
    top_k = torch.full((batch,), 50, dtype=torch.int64, device=device)
    key = draw.mixed(torch.arange(batch, device=device))
    drawing = (3 * torch.randn(batch, 2_048, device=device), ones, top_k, 0.8 * ones, key)
    own, plain = dispatch, predictor_layer
    return [
        (
            "frame_embedding",
            lambda: own.frame_embedding(codes, table, offsets, text),
            lambda: frame_embedding.reference(codes, table, offsets, text),
        ),
        (
            "add_norm",
            lambda: own.add_norm(text, update, scale, 1e-6)[1],
            lambda: plain.add_norm(text, update, scale, 1e-6)[1],
        ),
        ("gated", lambda: own.gated(gate_up), lambda: plain.gated(gate_up)),
        ("rotate_heads", lambda: own.rotate_heads(*turning), lambda: plain.rotate_heads(*turning)),
        ("draw", lambda: own.draw(*drawing), lambda: draw.reference(*drawing)),
    ]
