"""Seeded random weights with which every layer affects the output.

transformers' initialization (std 0.02, LayerScale 0.01) makes a model of this size almost constant, so that
comparisons with it would prove nothing.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from transformers.models.qwen3_5_moe.modeling_qwen3_5_moe import Qwen3_5MoeRMSNorm

# Mean and standard deviation of vectors, by name suffix.
_VECTORS: tuple[tuple[tuple[str, ...], tuple[float, float]], ...] = (
    # Attention sharp enough that hundreds of media tokens do not average to the same answer.
    (("q_norm.weight", "k_norm.weight"), (1.6, 0.2)),
    ((".alpha", ".beta"), (0.0, 0.3)),
    (("layer_scale.scale", ".gamma"), (0.4, 0.1)),
    # A gated-DeltaNet head decays by exp(A_log) * softplus(dt) per token: half-life 3 to 50 tokens.
    ((".A_log",), (-2.5, 1.0)),
    ((".dt_bias",), (0.0, 0.5)),
    ((".bias",), (0.0, 0.1)),
)


def fill(model: nn.Module, seed: int) -> None:
    """Fills all parameters with noise that preserves signals and leaves the logits undecided.

    Parameters on the meta device are left out.
    """
    generator = torch.Generator().manual_seed(seed)
    owners = {
        f"{name}.weight": module
        for name, module in model.named_modules()
        if isinstance(module, nn.ConvTranspose1d | Qwen3_5MoeRMSNorm)
    }
    for name, parameter in model.named_parameters():
        if not parameter.is_meta:
            parameter.copy_(noise(name, parameter.shape, generator, owners.get(name)))


def noise(
    name: str, shape: torch.Size, generator: torch.Generator, owner: nn.Module | None = None
) -> torch.Tensor:
    """Values for a parameter, float32. `owner`: its module, if its type matters here."""
    values = torch.randn(shape, generator=generator)
    center, spread = _distribution(name, shape, owner)
    return center + spread * values


def _distribution(name: str, shape: torch.Size, owner: nn.Module | None) -> tuple[float, float]:
    """Mean and standard deviation of a parameter."""
    if len(shape) == 1:
        center, spread = _vector_distribution(name)
        # These norms scale by 1 + weight.
        return center - isinstance(owner, Qwen3_5MoeRMSNorm), spread
    if "embed" in name and "proj" not in name:
        # The 16 code embeddings of a frame are summed; their sum has the norm of its text row.
        return 0.0, 0.25 if "codec_embedding" in name else 1.0
    if isinstance(owner, nn.ConvTranspose1d):
        taps = owner.kernel_size[0] / owner.stride[0]
        return 0.0, _gain(name, shape) / math.sqrt(shape[0] * taps)
    # Fused experts are [experts, out, in]; convolutions [out, in, *kernel]; linear layers [out, in].
    fan_in = shape[-1] if "experts." in name else math.prod(shape[1:])
    return 0.0, _gain(name, shape) / math.sqrt(fan_in)


def _vector_distribution(name: str) -> tuple[float, float]:
    return next((found for ends, found in _VECTORS if name.endswith(ends)), (1.0, 0.1))


def _gain(name: str, shape: torch.Size) -> float:
    if name.endswith((".gate.weight", "lm_head.weight", "codec_head.weight")) or ".lm_head." in name:
        return 2.0
    if "code2wav.decoder" in name:
        # Twelve consecutive residual units would otherwise clip nearly every sample.
        return 0.8 if shape[0] == 1 else 0.5
    return 1.0
