"""vLLM's layers without an engine, on a single rank."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.distributed import (
    cleanup_dist_env_and_memory,
    init_distributed_environment,
    initialize_model_parallel,
)


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    meeting = tmp_path_factory.mktemp("rank") / "meeting"
    with set_current_vllm_config(VllmConfig()):
        init_distributed_environment(1, 0, f"file://{meeting}", 0, "gloo")
        initialize_model_parallel(1)
        yield
    cleanup_dist_env_and_memory()


def load(module: nn.Module, source: nn.Module) -> None:
    """All of `source`'s weights into vLLM's `module`, ready to run."""
    loaded = module.load_weights(source.state_dict().items())
    assert loaded == {name for name, _ in module.named_parameters()}
    for layer in module.modules():
        method = getattr(layer, "quant_method", None)
        if method is not None:
            method.process_weights_after_loading(layer)


def make_random(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = max(1, parameter[0].numel()) if parameter.ndim > 1 else 25
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
