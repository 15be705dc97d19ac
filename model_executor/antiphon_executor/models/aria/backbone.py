"""The hybrid decoder of the ARIA Talker: input embeddings in, normed hidden states out.

Layers are vLLM's of Qwen3.5: gated DeltaNet (ours in float32 on a CPU) and gated attention, each followed by
experts or a dense MLP. Reference: `reference.talker.Talker`.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.model_executor.layers.layernorm import GemmaRMSNorm
from vllm.model_executor.models.qwen3_5 import Qwen3_5DecoderLayer, Qwen3_5Model
from vllm.model_executor.models.utils import AutoWeightsLoader, maybe_prefix

from antiphon_executor.models.aria.config import AriaTalkerConfig
from antiphon_executor.models.layers import gated_delta_net as gated_delta  # noqa: F401 - plugs itself in

STATE_LAYER = "linear_attention"


class AriaBackbone(nn.Module):
    """`talker.model` of the checkpoint, including its embeddings.

    `embed_tokens`: [text_vocab, hidden]; `codec_embedding`: [codec_vocab, hidden].
    """

    def __init__(self, vllm_config: VllmConfig, prefix: str) -> None:
        super().__init__()
        config: AriaTalkerConfig = vllm_config.model_config.hf_config
        text = config.text_config
        self.embed_tokens = nn.Embedding(config.text_vocab_size, config.hidden_size)
        self.codec_embedding = nn.Embedding(config.codec_vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            Qwen3_5DecoderLayer(vllm_config, kind, prefix=maybe_prefix(prefix, f"layers.{index}"))
            for index, kind in enumerate(text.layer_types)
        )
        self.norm = GemmaRMSNorm(config.hidden_size, eps=text.rms_norm_eps)
        states = [index for index, kind in enumerate(text.layer_types) if kind == STATE_LAYER]
        if not states:
            raise ValueError("the Talker's backbone has no gated DeltaNet layer")
        self.first_state: str = self.layers[states[0]].linear_attn.prefix

    def forward(self, positions: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """`positions`: int64 [N]; `rows`: [N, hidden] → [N, hidden], normed."""
        hidden, residual = rows, None
        for layer in self.layers:
            hidden, residual = layer(hidden_states=hidden, residual=residual, positions=positions)
        hidden, _ = self.norm(hidden, residual)
        return hidden

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        return AutoWeightsLoader(self).load_weights(weights, mapper=Qwen3_5Model.hf_to_vllm_mapper)
