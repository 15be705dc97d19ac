"""Seeded random weights that behave like a model: no dead layer, no constant output, an end that is reached.

In: a `Qwen3OmniMoeForConditionalGeneration` and a seed. Out: the same model, filled in place. transformers'
own initialisation (std 0.02, LayerScale 0.01) makes a model of this size almost constant, and every
comparison with it idle.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from transformers.models.qwen3_omni_moe import Qwen3OmniMoeForConditionalGeneration

# One channel of the residual streams carries a constant: no layer writes it, and only the end token reads it.
_CONSTANT_CHANNEL = 0
_CONSTANT = 4.0


def fill(model: Qwen3OmniMoeForConditionalGeneration, seed: int, spoken_tokens: int) -> None:
    """Fill every parameter. Of the text tokens from `spoken_tokens` on, only the end of a turn is likely."""
    generator = torch.Generator().manual_seed(seed)
    transposed = {
        f"{name}.weight": module
        for name, module in model.named_modules()
        if isinstance(module, nn.ConvTranspose1d)
    }
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            center, spread = _distribution(name, parameter.shape, transposed.get(name))
            parameter.copy_(center + spread * noise)
        _let_text_end(model, spoken_tokens)
        _let_speech_end(model)


def _distribution(name: str, shape: torch.Size, transposed: nn.ConvTranspose1d | None) -> tuple[float, float]:
    """Mean and standard deviation of a parameter."""
    if len(shape) == 1:
        return _vector_distribution(name)
    if "embed" in name and "proj" not in name:
        # A frame's 16 code embeddings are summed: together they weigh as much as its text row.
        return 0.0, 0.25 if "codec_embedding" in name else 1.0
    if transposed is not None:
        taps = transposed.kernel_size[0] / transposed.stride[0]
        return 0.0, _gain(name, shape) / math.sqrt(shape[0] * taps)
    # Fused experts are [experts, out, in]; convolutions [out, in, *kernel]; linear layers [out, in].
    fan_in = shape[-1] if "experts." in name else math.prod(shape[1:])
    return 0.0, _gain(name, shape) / math.sqrt(fan_in)


def _vector_distribution(name: str) -> tuple[float, float]:
    if name.endswith(("q_norm.weight", "k_norm.weight")):
        # Sharp enough attention that hundreds of media tokens do not average out to the same answer.
        return 1.6, 0.2
    if name.endswith((".alpha", ".beta")):
        return 0.0, 0.3
    if name.endswith(("layer_scale.scale", ".gamma")):
        return 0.4, 0.1
    if name.endswith(".bias"):
        return 0.0, 0.1
    return 1.0, 0.1


def _gain(name: str, shape: torch.Size) -> float:
    if name.endswith((".gate.weight", "lm_head.weight", "codec_head.weight")) or ".lm_head." in name:
        return 2.0
    if "code2wav.decoder" in name:
        # Twelve residual units in a row: without this nearly every sample is clipped.
        return 0.8 if shape[0] == 1 else 0.5
    return 1.0


def _let_text_end(model: Qwen3OmniMoeForConditionalGeneration, spoken_tokens: int) -> None:
    thinker = model.thinker
    _hold_constant_channel(thinker.model.layers)
    thinker.model.embed_tokens.weight[:, _CONSTANT_CHANNEL] = _CONSTANT
    head = thinker.lm_head.weight
    head[:, _CONSTANT_CHANNEL] = 0
    head[spoken_tokens:] = 0
    head[model.config.im_end_token_id, _CONSTANT_CHANNEL] = 1.6
    thinker.model.norm.weight[_CONSTANT_CHANNEL] = 1


def _let_speech_end(model: Qwen3OmniMoeForConditionalGeneration) -> None:
    talker = model.talker
    _hold_constant_channel(talker.model.layers)
    talker.model.codec_embedding.weight[:, _CONSTANT_CHANNEL] = 0
    for embedding in talker.code_predictor.model.codec_embedding:
        embedding.weight[:, _CONSTANT_CHANNEL] = 0
    for projection in (talker.text_projection, talker.hidden_projection):
        projection.linear_fc2.weight[_CONSTANT_CHANNEL] = 0
        projection.linear_fc2.bias[_CONSTANT_CHANNEL] = _CONSTANT
    head = talker.codec_head.weight
    head[:, _CONSTANT_CHANNEL] = 0
    end = model.config.talker_config.codec_eos_token_id
    head[end] = 0
    head[end, _CONSTANT_CHANNEL] = 1.4
    talker.model.norm.weight[_CONSTANT_CHANNEL] = 1


def _hold_constant_channel(layers: nn.ModuleList) -> None:
    for layer in layers:
        layer.self_attn.o_proj.weight[_CONSTANT_CHANNEL] = 0
        layer.mlp.experts.down_proj[:, _CONSTANT_CHANNEL] = 0
        if hasattr(layer.mlp, "shared_expert"):
            layer.mlp.shared_expert.down_proj.weight[_CONSTANT_CHANNEL] = 0
