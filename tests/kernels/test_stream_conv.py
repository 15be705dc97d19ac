"""Stateful convolutions: every version computes what the reference and transformers define."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from antiphon_executor.models.torchvision_ops import define_missing_operators

define_missing_operators()

from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import (  # noqa: E402
    Qwen3OmniMoeCausalConvNet,
    Qwen3OmniMoeCausalTransConvNet,
)

from antiphon_kernels import stream_conv, stream_conv_triton  # noqa: E402
from tests.kernels.conftest import ON_GPU, assert_close_for, normal  # noqa: E402

DTYPES = (torch.float32, torch.bfloat16)
# Triton's interpreter multiplies the bits of bfloat16 tiles, so without a GPU half precision stands in.
TRITON_DTYPES = (torch.float32, torch.float16, torch.bfloat16) if ON_GPU else (torch.float32, torch.float16)
CONVS = (
    # batch, steps, in, out, kernel, dilation, groups
    (1, 4, 24, 32, 7, 1, 1),
    (3, 20, 16, 16, 7, 3, 1),
    (2, 100, 8, 8, 7, 9, 1),
    (2, 200, 8, 8, 1, 1, 1),
    (2, 33, 40, 70, 1, 1, 1),
    (2, 50, 6, 1, 7, 1, 1),
    (3, 4, 30, 30, 7, 1, 30),
    # Sums in several parts, the last one shorter; more rows than a tile has; columns in two tiles.
    (1, 3, 72, 40, 7, 3, 1),
    (2, 90, 64, 128, 7, 1, 1),
    (1, 150, 96, 96, 3, 9, 1),
)
TRANSPOSED = (
    # batch, steps, in, out, kernel, stride
    (1, 1, 16, 16, 2, 2),
    (3, 4, 24, 12, 16, 8),
    (2, 17, 12, 6, 6, 3),
    (2, 5, 8, 40, 12, 4),
    (1, 4, 192, 32, 16, 8),
)


def conv_case(
    shape: tuple[int, ...], dtype: torch.dtype, device: str
) -> tuple[Tensor, Tensor, Tensor, int, int]:
    batch, steps, inputs, outputs, kernel, dilation, groups = shape
    window = normal(batch, steps + (kernel - 1) * dilation, inputs, dtype=dtype, device=device)
    weight = stream_conv.packed_conv_weight(outputs, inputs // groups, kernel).to(device, dtype)
    weight.copy_(normal(*weight.shape, seed=1) / weight[0].numel() ** 0.5)
    return window, weight, normal(outputs, dtype=dtype, device=device, seed=2), dilation, groups


def transposed_case(
    shape: tuple[int, ...], dtype: torch.dtype, device: str
) -> tuple[Tensor, Tensor, Tensor, int]:
    batch, steps, inputs, outputs, kernel, stride = shape
    window = normal(batch, steps + kernel // stride - 1, inputs, dtype=dtype, device=device)
    weight = stream_conv.packed_transposed_weight(inputs, outputs, kernel).to(device, dtype)
    weight.copy_(normal(*weight.shape, seed=1) / inputs**0.5)
    return window, weight, normal(outputs, dtype=dtype, device=device, seed=2), stride


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", CONVS, ids=str)
def test_the_tuned_convolution_agrees_with_the_reference(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    arguments = conv_case(shape, dtype, "cpu")

    assert_close_for(dtype, stream_conv.on_cpu(*arguments), stream_conv.reference(*arguments))


@pytest.mark.parametrize("dtype", TRITON_DTYPES, ids=str)
@pytest.mark.parametrize("shape", CONVS, ids=str)
def test_the_triton_convolution_agrees_with_the_reference(
    shape: tuple[int, ...], dtype: torch.dtype, device: str
) -> None:
    arguments = conv_case(shape, dtype, device)

    assert_close_for(dtype, stream_conv_triton.stream_conv(*arguments), stream_conv.reference(*arguments))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", TRANSPOSED, ids=str)
def test_the_tuned_transposed_convolution_agrees_with_the_reference(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    arguments = transposed_case(shape, dtype, "cpu")

    expected = stream_conv.transposed_reference(*arguments)
    assert_close_for(dtype, stream_conv.transposed_on_cpu(*arguments), expected)


@pytest.mark.parametrize("dtype", TRITON_DTYPES, ids=str)
@pytest.mark.parametrize("shape", TRANSPOSED, ids=str)
def test_the_triton_transposed_convolution_agrees_with_the_reference(
    shape: tuple[int, ...], dtype: torch.dtype, device: str
) -> None:
    arguments = transposed_case(shape, dtype, device)

    expected = stream_conv.transposed_reference(*arguments)
    assert_close_for(dtype, stream_conv_triton.stream_transposed_conv(*arguments), expected)


def test_few_rows_are_summed_in_parts_and_many_in_one() -> None:
    """At the released sizes: a convolution of one frame, and of 64 streams."""
    alone = stream_conv_triton.tiles(32, 768, 768, 7, halves=True)
    assert (alone.rows, alone.columns, alone.depth) == (64, 64, 64)
    assert 12 * alone.parts >= 132
    many = stream_conv_triton.tiles(64 * 160, 384, 384, 7, halves=True)
    assert (many.rows, many.columns, many.parts) == (128, 64, 1)


@pytest.mark.parametrize("halves", [True, False])
def test_the_parts_of_a_sum_cover_every_tap_and_input_once(halves: bool) -> None:
    for rows in (1, 2, 4, 32, 160, 640, 1_920, 40_960):
        for outputs, inputs, taps in (
            (1_536, 1_024, 7),
            (6_144, 1_536, 2),
            (96, 96, 7),
            (1, 96, 7),
            (32, 24, 7),
        ):
            tile = stream_conv_triton.tiles(rows, outputs, inputs, taps, halves=halves)
            steps = taps * -(-inputs // tile.depth)
            assert (tile.parts - 1) * tile.part_steps < steps <= tile.parts * tile.part_steps
            assert 1 <= tile.parts <= 16


def test_a_convolution_behind_a_tail_of_zeros_is_the_causal_convolution_of_transformers() -> None:
    oracle = Qwen3OmniMoeCausalConvNet(6, 10, kernel_size=7, dilation=3).requires_grad_(False)
    x = normal(2, 40, 6)
    window = torch.cat([torch.zeros(2, 18, 6), x], dim=1)

    mine = stream_conv.reference(window, oracle.conv.weight, oracle.conv.bias, 3, 1)

    torch.testing.assert_close(mine, oracle(x.transpose(1, 2)).transpose(1, 2))


def test_a_transposed_convolution_gives_that_of_transformers_one_stride_late() -> None:
    oracle = Qwen3OmniMoeCausalTransConvNet(6, 10, kernel_size=10, stride=5).requires_grad_(False)
    x = normal(2, 20, 6)
    window = torch.cat([torch.zeros(2, 1, 6), x], dim=1)

    mine = stream_conv.transposed_reference(window, oracle.conv.weight, oracle.conv.bias, 5)

    torch.testing.assert_close(mine[:, 5:], oracle(x.transpose(1, 2)).transpose(1, 2))


def test_a_packed_weight_has_the_shape_of_the_checkpoint_and_survives_a_change_of_dtype() -> None:
    conv = torch.nn.Parameter(stream_conv.packed_conv_weight(5, 3, 7)).to(torch.bfloat16)
    transposed = torch.nn.Parameter(stream_conv.packed_transposed_weight(3, 5, 4)).to(torch.bfloat16)

    assert (conv.shape, conv.stride()) == ((5, 3, 7), (21, 1, 3))
    assert (transposed.shape, transposed.stride()) == ((3, 5, 4), (1, 3, 15))


def test_a_weight_that_is_not_packed_gives_the_same(device: str) -> None:
    window, weight, bias, dilation, groups = conv_case(CONVS[1], torch.float32, device)
    loose = weight.contiguous()

    assert loose.stride() != weight.stride()
    for version in (stream_conv.on_cpu, stream_conv_triton.stream_conv):
        expected = stream_conv.reference(window, weight, bias, dilation, groups)
        assert_close_for(torch.float32, version(window, loose, bias, dilation, groups), expected)
