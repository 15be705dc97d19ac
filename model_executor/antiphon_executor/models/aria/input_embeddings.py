"""Input embeddings of the ARIA Talker's backbone, from token ids and slots.

The id of a prompt or text row says what it is (`AriaVocabulary`); a generated row is the sum of its frame's
code embeddings. Reference: `reference.talker.Talker`.
"""

from __future__ import annotations

import torch
from torch import nn

from antiphon_executor.models.aria.backbone import AriaBackbone
from antiphon_executor.models.aria.config import AriaTalkerConfig
from antiphon_executor.models.aria.streams import AriaStreams
from antiphon_executor.models.talker.step_rows import StepRows
from antiphon_kernels.dispatch import frame_embedding


class AriaInputEmbeddings:
    """`tables`: stacked embeddings of all code groups [rows, hidden], and each group's first row [groups]."""

    def __init__(
        self,
        config: AriaTalkerConfig,
        backbone: AriaBackbone,
        hidden_projection: nn.Linear,
        tables: tuple[torch.Tensor, torch.Tensor],
    ) -> None:
        self._vocabulary = config.vocabulary
        self._im_start = config.im_start_id
        self._text_table = backbone.embed_tokens.weight.detach()
        self._code_table, self._code_offsets = tables
        self._hidden_projection = hidden_projection

    @torch.inference_mode()
    def embed_prompt(self, voice: torch.Tensor, media: torch.Tensor) -> torch.Tensor:
        """`voice`: int64 [frames, groups]; `media`: [rows, thinker_hidden] → [frames + rows, hidden]."""
        return torch.cat((self.frames(voice), self._hidden_projection(media)))

    def frames(self, codes: torch.Tensor) -> torch.Tensor:
        """Codes int64 [n, groups] → [n, hidden]."""
        nothing = self._text_table.new_zeros(len(codes), self._text_table.shape[1])
        return frame_embedding(codes, self._code_table, self._code_offsets, nothing)

    def __call__(self, streams: AriaStreams, rows: StepRows, input_ids: torch.Tensor) -> torch.Tensor:
        """`input_ids`: [N] → [N, hidden]."""
        pool, v = streams.pool, self._vocabulary
        ids = input_ids.to(torch.int64)
        slot = rows.slot[rows.token_request]
        offset = rows.token_index - pool.prompt_len[slot]
        frame = streams.frame_at(slot, offset).clamp(0, pool.shape.max_frames - 1)
        generated = self.frames(pool.history[slot, frame].to(torch.int64))
        is_codec = ids < v.text_base
        is_slot = (ids >= v.slot_base) & (ids < v.embedding_base)
        text_id = torch.where(is_slot, self._im_start, ids - v.text_base)
        text = self._text_table[text_id.clamp(0, len(self._text_table) - 1)]
        prompt = torch.where(is_codec.unsqueeze(1), self._code_table[ids.clamp(max=v.codec - 1)], text)
        embeddings = pool.prompt_embeddings.gather(slot, (ids - v.embedding_base).clamp(min=0))
        prompt = torch.where((ids >= v.embedding_base).unsqueeze(1), embeddings, prompt)
        return torch.where((is_codec & (offset >= 0)).unsqueeze(1), generated, prompt)
