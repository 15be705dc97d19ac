"""The Talker's MoE decoder: input embeddings in, normed hidden states out.

Layers are vLLM's: Qwen3 attention with q/k norms and TM-RoPE, and a sparse block with a gated shared expert.
Reference: transformers' `Qwen3OmniMoeTalkerModel`.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.model_executor.layers.layernorm import RMSNorm
from vllm.model_executor.models.qwen2_moe import Qwen2MoeSparseMoeBlock
from vllm.model_executor.models.qwen3_moe import Qwen3MoeAttention
from vllm.model_executor.models.utils import AutoWeightsLoader, WeightsMapper, maybe_prefix

from antiphon_executor.models.layers.packed_mrope import PackedMRope


class TalkerDecoderLayer(nn.Module):
    """Attention, then experts, each after an RMS norm."""

    def __init__(self, vllm_config: VllmConfig, prefix: str) -> None:
        super().__init__()
        config = vllm_config.model_config.hf_config
        self.self_attn = Qwen3MoeAttention(
            hidden_size=config.hidden_size,
            num_heads=config.num_attention_heads,
            num_kv_heads=config.num_key_value_heads,
            rope_parameters=config.rope_parameters,
            max_position_embeddings=config.max_position_embeddings,
            head_dim=config.head_dim,
            rms_norm_eps=config.rms_norm_eps,
            qkv_bias=config.attention_bias,
            cache_config=vllm_config.cache_config,
            quant_config=vllm_config.quant_config,
            prefix=f"{prefix}.self_attn",
        )
        rope = config.rope_parameters
        self.self_attn.rotary_emb = PackedMRope(config.head_dim, rope["rope_theta"], rope["mrope_section"])
        self.mlp = Qwen2MoeSparseMoeBlock(config, vllm_config.quant_config, prefix=f"{prefix}.mlp")
        self.input_layernorm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(
        self, positions: torch.Tensor, hidden: torch.Tensor, residual: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if residual is None:
            residual, hidden = hidden, self.input_layernorm(hidden)
        else:
            hidden, residual = self.input_layernorm(hidden, residual)
        hidden = self.self_attn(positions, hidden)
        hidden, residual = self.post_attention_layernorm(hidden, residual)
        return self.mlp(hidden), residual


class TalkerBackbone(nn.Module):
    """`talker.model` of the checkpoint. `codec_embedding`: [codec_vocab, hidden]."""

    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_stacked={
            ".q_proj": (".qkv_proj", "q"),
            ".k_proj": (".qkv_proj", "k"),
            ".v_proj": (".qkv_proj", "v"),
            ".shared_expert.gate_proj": (".shared_expert.gate_up_proj", 0),
            ".shared_expert.up_proj": (".shared_expert.gate_up_proj", 1),
        }
    )

    def __init__(self, vllm_config: VllmConfig, prefix: str) -> None:
        super().__init__()
        config = vllm_config.model_config.hf_config
        self.codec_embedding = nn.Embedding(config.codec_vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            TalkerDecoderLayer(vllm_config, maybe_prefix(prefix, f"layers.{index}"))
            for index in range(config.backbone_layers)
        )
        self.norm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, positions: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """`positions`: packed int64 [3, N] (`packed_mrope`); `rows`: [N, hidden] → [N, hidden], normed."""
        hidden, residual = rows, None
        for layer in self.layers:
            hidden, residual = layer(positions, hidden, residual)
        hidden, _ = self.norm(hidden, residual)
        return hidden

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        return AutoWeightsLoader(self).load_weights(weights, mapper=self.hf_to_vllm_mapper)
