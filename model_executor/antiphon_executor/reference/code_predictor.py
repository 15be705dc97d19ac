"""The code predictor (MTP): from the Talker's hidden state and a frame's code 0 to its other codes.

transformers' Qwen3-Omni predictor, with the same tensor names. Assumption, as in Qwen3-TTS: code embeddings
have the Talker's width; a narrower predictor projects every row (`small_to_mtp_projection`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeTalkerCodePredictorModel

Draw = Callable[[Tensor, int], Tensor]
"""(logits [n, vocab], group from 1) → codes int64 [n]."""


class CodePredictor(nn.Module):
    """`talker_hidden`: width of the Talker's hidden states and of every code embedding."""

    def __init__(self, config: PreTrainedConfig, talker_hidden: int) -> None:
        super().__init__()
        residual = config.num_code_groups - 1
        self.model = Qwen3OmniMoeTalkerCodePredictorModel(config)
        self.lm_head = nn.ModuleList(
            nn.Linear(config.hidden_size, config.vocab_size, bias=False) for _ in range(residual)
        )
        self.small_to_mtp_projection: nn.Module = nn.Identity()
        if talker_hidden != config.hidden_size:
            self.model.codec_embedding = nn.ModuleList(
                nn.Embedding(config.vocab_size, talker_hidden) for _ in range(residual)
            )
            self.small_to_mtp_projection = nn.Linear(talker_hidden, config.hidden_size)

    def forward(self, hidden: Tensor, code0_rows: Tensor, codes: Tensor) -> Tensor:
        """Logits of groups 1 to `known` + 1 (at most all): [n, min(known + 1, groups - 1), vocab].

        `hidden`, `code0_rows`: [n, talker_hidden]; `codes`: int64 [n, known], of groups 1 to `known`.
        """
        known = [self.model.codec_embedding[group](codes[:, group]) for group in range(codes.shape[1])]
        rows = torch.stack((hidden, code0_rows, *known[: len(self.lm_head) - 1]), dim=1)
        states = self.model(inputs_embeds=self.small_to_mtp_projection(rows), use_cache=False)
        behind = states.last_hidden_state[:, 1:].unbind(1)
        return torch.stack([head(state) for head, state in zip(self.lm_head, behind, strict=False)], dim=1)

    def draw(self, hidden: Tensor, code0_rows: Tensor, draw: Draw) -> Tensor:
        """Draws the codes of groups 1 to groups - 1 in turn, each with a full pass: int64 [n, groups - 1]."""
        codes = hidden.new_zeros((len(hidden), 0), dtype=torch.int64)
        for group in range(1, len(self.lm_head) + 1):
            logits = self(hidden, code0_rows, codes)[:, -1]
            codes = torch.cat((codes, draw(logits, group)[:, None]), dim=1)
        return codes
