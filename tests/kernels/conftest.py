"""Without a GPU the Triton kernels run in Triton's interpreter."""

from __future__ import annotations

import importlib.util
import os

import pytest
import torch
from torch import Tensor

ON_GPU = torch.cuda.is_available()


def _decorate_for_the_interpreter() -> None:
    """`triton.jit` reads the variable when it decorates; other tests of this process must not see it."""
    import triton  # noqa: F401 - first, and as it is: Triton's own functions must not be interpreted

    os.environ["TRITON_INTERPRET"] = "1"
    try:
        from antiphon_kernels import (  # noqa: F401
            draw_triton,
            frame_embedding_triton,
            predictor_layer_triton,
            snake_triton,
            stream_conv_triton,
        )
    finally:
        del os.environ["TRITON_INTERPRET"]


if importlib.util.find_spec("triton") is None:
    collect_ignore_glob = ["test_*.py"]
elif not ON_GPU:
    _decorate_for_the_interpreter()


@pytest.fixture
def interpreted_reductions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton's reductions, which are functions of its own, run in the interpreter too."""
    if ON_GPU:
        return
    import triton.experimental.gluon.language  # noqa: F401 - it takes the functions as they are, at its import
    from triton import language
    from triton.language import standard
    from triton.runtime.interpreter import InterpretedFunction

    for name in ("sum", "max", "argmax"):
        interpreted = InterpretedFunction(getattr(standard, name).fn)
        monkeypatch.setattr(language, name, interpreted)
        monkeypatch.setattr(standard, name, interpreted)


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
