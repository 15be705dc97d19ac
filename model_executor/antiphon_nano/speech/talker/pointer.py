"""A loss on attention: two heads learn to find the token spoken now and the next one.

Uses the first heads of the backbone's first full-attention layer, with that layer's own projections. For
training alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.qwen3_5_moe.modeling_qwen3_5_moe import Qwen3_5MoeAttention, apply_rotary_pos_emb

HEADS = 2
"""The first head finds the token spoken in the next frame, the second the token after it."""


class Pointer:
    """Hooks the first full-attention layer of `backbone`. Raises ValueError if there is none."""

    def __init__(self, backbone: nn.Module) -> None:
        layers = [module for module in backbone.modules() if isinstance(module, Qwen3_5MoeAttention)]
        if not layers:
            raise ValueError("the backbone has no full-attention layer")
        self._layer = layers[0]
        self._seen: tuple[Tensor, tuple[Tensor, Tensor]] | None = None
        self._layer.register_forward_pre_hook(self._listen, with_kwargs=True)

    def log_attention(self) -> Tensor:
        """Log-probabilities, float32 [streams, HEADS, n, n], of the last pass. Raises RuntimeError if there
        was none.
        """
        if self._seen is None:
            raise RuntimeError("the backbone has not run")
        (rows, turns), self._seen = self._seen, None
        layer, count = self._layer, self._layer.head_dim
        queries = layer.q_proj(rows).unflatten(-1, (-1, count * 2))[..., :HEADS, :count]
        keys = layer.k_proj(rows).unflatten(-1, (-1, count))
        queries, keys = layer.q_norm(queries).transpose(1, 2), layer.k_norm(keys).transpose(1, 2)
        queries, keys = apply_rotary_pos_emb(queries, keys, *turns)
        shared = [head // layer.num_key_value_groups for head in range(HEADS)]
        scores = (queries @ keys[:, shared].transpose(2, 3)).float() * layer.scaling
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        return scores.masked_fill(later, -1e9).log_softmax(-1)

    def _listen(self, module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        rows = named["hidden_states"] if "hidden_states" in named else arguments[0]
        self._seen = rows, named["position_embeddings"]
