"""Input embeddings of the Talker's backbone, from token ids and slots.

A prompt row's id says what it is (`TalkerVocabulary`); a generated row is the sum of its frame's code
embeddings and the next text row. Reference: `prepare_inputs_for_generation` of transformers' Talker.
"""

from __future__ import annotations

import torch
from torch import nn

from antiphon_executor.models.qwen3_omni.config import TalkerConfig
from antiphon_executor.models.qwen3_omni.dual_track_streams import DualTrackStreams
from antiphon_executor.models.talker.step_rows import StepRows
from antiphon_kernels.dispatch import frame_embedding


class InputEmbeddings(nn.Module):
    """Embeds prompt rows and generated rows, in any mix.

    `text_table` [text_vocab, hidden]: the projected embedding table. `code_table` [rows, hidden]: the stacked
    embeddings of all code groups; `code_offsets` [groups]: each group's first row. `prefix_text`,
    `prefix_codec`: text id and codec id by prefix row.
    """

    text_table: torch.Tensor
    code_table: torch.Tensor
    code_offsets: torch.Tensor

    def __init__(self, config: TalkerConfig) -> None:
        super().__init__()
        vocabulary = config.vocabulary
        self.vocabulary = vocabulary
        self.im_start = config.im_start_id
        text, codec = zip(*config.prefix_rows, strict=True)
        self.register_buffer("prefix_text", torch.tensor(text), persistent=False)
        self.register_buffer("prefix_codec", torch.tensor(codec), persistent=False)

    def forward(self, streams: DualTrackStreams, rows: StepRows, input_ids: torch.Tensor) -> torch.Tensor:
        """`input_ids`: [N] → [N, hidden]."""
        slot = rows.slot[rows.token_request]
        frame = rows.token_index - streams.pool.prompt_len[slot]
        generated = self._generated(streams, slot, frame)
        prompt = self._prompt(streams, slot, input_ids.to(torch.int64))
        return torch.where((frame >= 0).unsqueeze(1), generated, prompt)

    def _generated(self, streams: DualTrackStreams, slot: torch.Tensor, frame: torch.Tensor) -> torch.Tensor:
        pool = streams.pool
        frame = frame.clamp(0, pool.shape.max_frames - 1)
        codes = pool.history[slot, frame].to(torch.int64)
        text = self.text_table[streams.track[slot, frame + 1]]
        return frame_embedding(codes, self.code_table, self.code_offsets, text)

    def _prompt(self, streams: DualTrackStreams, slot: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        v = self.vocabulary
        prefix = (ids - v.prefix_base).clamp(0, len(self.prefix_text) - 1)
        is_prefix = (ids >= v.prefix_base) & (ids < v.slot_base)
        is_text = (ids >= v.text_base) & (ids < v.prefix_base)
        is_slot = (ids >= v.slot_base) & (ids < v.media_base)
        is_first_text = ids == v.first_text_row
        text_id = torch.where(is_text, ids - v.text_base, self.prefix_text[prefix])
        text_id = torch.where(is_slot, self.im_start, text_id)
        text_id = torch.where(is_first_text, streams.track[slot, 0], text_id)
        codec = self.code_table[self.prefix_codec[prefix]]
        rows = self.text_table[text_id] + codec * is_prefix.unsqueeze(1)
        media = streams.pool.prompt_embeddings.gather(slot, (ids - v.media_base).clamp(min=0))
        return torch.where((ids >= v.media_base).unsqueeze(1), media, rows)
