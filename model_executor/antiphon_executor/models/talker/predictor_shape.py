"""The sizes of a code predictor, and its rotary tables."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PretrainedConfig


@dataclass(frozen=True, slots=True)
class PredictorShape:
    """Sizes of a code predictor. `groups` includes code 0; `head_dim` is even.

    `talker_hidden`: width of the input rows and of every code embedding.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    groups: int
    eps: float
    rope_theta: float
    talker_hidden: int

    @classmethod
    def of(cls, config: PretrainedConfig, talker_hidden: int | None = None) -> PredictorShape:
        """From a `Qwen3OmniMoeTalkerCodePredictorConfig`; ValueError if it is not supported.

        `talker_hidden`: defaults to the predictor's own width.
        """
        rope = config.rope_parameters
        windowed = config.sliding_window is not None and config.sliding_window < config.num_code_groups
        if config.hidden_act != "silu" or config.attention_bias or rope["rope_type"] != "default" or windowed:
            raise ValueError(
                "the code predictor supports only SiLU, default RoPE and full attention without bias"
            )
        return cls(
            hidden=config.hidden_size,
            intermediate=config.intermediate_size,
            layers=config.num_hidden_layers,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_dim=config.head_dim,
            vocab=config.vocab_size,
            groups=config.num_code_groups,
            eps=config.rms_norm_eps,
            rope_theta=rope["rope_theta"],
            talker_hidden=talker_hidden or config.hidden_size,
        )


def rotation(shape: PredictorShape, query_norm: Tensor, key_norm: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and signed sine (for swapped halves) times the heads' norm weights.

    float32 [groups, heads + kv_heads, head_dim], by position.
    """
    weight = torch.stack([query_norm] * shape.heads + [key_norm] * shape.kv_heads).detach().float()
    dim, device = shape.head_dim, weight.device
    exponent = torch.arange(0, dim, 2, dtype=torch.float32, device=device) / dim
    turns = torch.arange(shape.groups, dtype=torch.float32, device=device).outer(shape.rope_theta**-exponent)
    cosine = torch.cat((turns.cos(), turns.cos()), dim=-1).unsqueeze(1)
    sine = torch.cat((-turns.sin(), turns.sin()), dim=-1).unsqueeze(1)
    return cosine * weight, sine * weight.roll(dim // 2, -1)
