"""The RMS norm of the CPU is vLLM's own, for rows of any layout and without an effect of other rows."""

from __future__ import annotations

import pytest
import torch
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.model_executor.layers.layernorm import RMSNorm

from antiphon_executor.models.layers.cpu_rms_norm import CpuRMSNorm, use_cpu_rms_norm


@pytest.fixture
def norm() -> RMSNorm:
    use_cpu_rms_norm()
    with set_current_vllm_config(VllmConfig()):
        made = RMSNorm(64, eps=1e-6)
    made.weight.data.normal_(generator=torch.Generator().manual_seed(1))
    return made


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_vllm_makes_it_in_place_of_its_own(norm: RMSNorm) -> None:
    assert isinstance(norm, CpuRMSNorm)


def test_it_computes_what_vllms_does(norm: RMSNorm) -> None:
    x = random(5, 64)
    torch.testing.assert_close(norm.forward_cpu(x.clone()), norm.forward_native(x.clone()))
    for ours, theirs in zip(
        norm.forward_cpu(x.clone(), 2 * x), norm.forward_native(x.clone(), 2 * x), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_heads_within_a_wider_row_are_normed_each(norm: RMSNorm) -> None:
    heads = random(5, 4 * 64)[:, 64:192].view(5, 2, 64)
    torch.testing.assert_close(norm.forward_cpu(heads), norm.forward_native(heads))


def test_a_row_does_not_depend_on_the_others(norm: RMSNorm) -> None:
    x = random(33, 64)
    whole = norm.forward_cpu(x)
    for row in range(33):
        assert torch.equal(norm.forward_cpu(x[row : row + 1]), whole[row : row + 1])


def test_what_the_operation_does_not_support_is_computed_by_vllms(norm: RMSNorm) -> None:
    x = random(3, 64).to(torch.float64)
    torch.testing.assert_close(norm.forward_cpu(x), norm.forward_native(x))
