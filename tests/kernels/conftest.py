"""The Triton kernels run in Triton's interpreter where there is no GPU, which must be said before the import."""

from __future__ import annotations

import os

import pytest
import torch
from torch import Tensor

ON_GPU = torch.cuda.is_available()
if not ON_GPU:
    os.environ["TRITON_INTERPRET"] = "1"

pytest.importorskip("triton")


@pytest.fixture
def device() -> str:
    return "cuda" if ON_GPU else "cpu"


def normal(*shape: int, dtype: torch.dtype = torch.float32, device: str = "cpu", seed: int = 0) -> Tensor:
    """Reproducible normal values of any dtype, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator).to(device, dtype)


def assert_close_for(dtype: torch.dtype, actual: Tensor, expected: Tensor) -> None:
    """Within a few roundings of the dtype, relative to the values' size."""
    tolerance = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}[dtype]
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    error = (actual.float() - expected.float()).norm() / expected.float().norm()
    assert error < tolerance, f"relative error {error:.2e}"
