"""SnakeBeta into a window: every version computes what the reference and transformers define."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from antiphon_executor.models.torchvision_ops import define_missing_operators

define_missing_operators()

from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeSnakeBeta  # noqa: E402

from antiphon_kernels import snake, snake_triton  # noqa: E402
from tests.kernels.conftest import assert_close_for, normal  # noqa: E402

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
SHAPES = (
    # batch, tail, steps, channels, lead_in, repeats
    (1, 6, 32, 16, 8, 1),
    (3, 54, 160, 6, 45, 8),
    (2, 0, 12, 96, 0, 1),
    (4, 1, 4, 130, 0, 1),
    (2, 18, 5, 8, 3, 1),
)


def case(
    shape: tuple[int, ...], dtype: torch.dtype, device: str
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, int]:
    batch, before, steps, channels, lead_in, repeats = shape
    x = normal(batch, steps, channels, dtype=dtype, device=device)
    pool = normal(batch, before * channels + 7, dtype=dtype, device=device, seed=1)
    tail = pool[:, 7:].unflatten(1, (before, channels)) if before else pool[:, :0].view(batch, 0, channels)
    alpha, beta = (0.3 * normal(channels, device=device, seed=seed) for seed in (2, 3))
    started = (torch.arange(batch, device=device) % 2).to(dtype).view(batch, 1, 1)
    return x, *snake.constants(alpha, beta, repeats), tail, started, lead_in


def test_the_reference_is_the_activation_of_transformers() -> None:
    alpha, beta, x = normal(12, seed=1), normal(12, seed=2), normal(2, 9, 12)
    oracle = Qwen3OmniMoeSnakeBeta(12)
    oracle.alpha.data, oracle.beta.data = alpha, beta

    mine = snake.reference(x, *snake.constants(alpha, beta), x[:, :0], torch.ones(2, 1, 1), 0)

    torch.testing.assert_close(mine, oracle(x.transpose(1, 2)).transpose(1, 2).detach())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_tuned_torch_version_agrees_with_the_reference(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    arguments = case(shape, dtype, "cpu")

    assert_close_for(dtype, snake.on_cpu(*arguments), snake.reference(*arguments))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_triton_version_agrees_with_the_reference(
    shape: tuple[int, ...], dtype: torch.dtype, device: str
) -> None:
    arguments = case(shape, dtype, device)

    assert_close_for(dtype, snake_triton.snake(*arguments), snake.reference(*arguments))


@pytest.mark.parametrize("version", [snake.reference, snake.on_cpu, snake_triton.snake])
def test_steps_before_the_beginning_of_a_stream_are_zero_and_the_rest_is_not(
    version: Callable[..., Tensor], device: str
) -> None:
    x, rate, gain, tail, _, _ = case((2, 6, 16, 4, 0, 1), torch.float32, device)
    started = torch.tensor([0.0, 1.0], device=device).view(2, 1, 1)

    window = version(x, rate, gain, tail, started, 5)

    assert torch.equal(window[:, :6], tail)
    assert window[0, 6:11].count_nonzero() == 0
    assert (window[0, 11:] != 0).all()
    assert (window[1] != 0).all()
