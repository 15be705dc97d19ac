"""ARIA without caches: the whole stream is computed again for every frame. A served stream must equal it.

From the Talker's prompt rows, the text of an answer and sampling parameters to the frames and row order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from antiphon_executor.models.aria.chunk_rule import Chunk, Kind, Row, chunks
from antiphon_executor.models.talker.sampling import (
    ResidualDraw,
    Sampling,
    SlotSampling,
    StreamSampling,
    draw_code0,
)
from antiphon_executor.reference.talker import Talker

Extend = Callable[[Tensor], Tensor]
"""[n, hidden] rows that enter the stream → [hidden], the normed state of the last of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """`codes`: int64 [frames, groups]; `order`: the rows after the prompt; `ended`: EOS was drawn."""

    codes: Tensor
    order: tuple[Row, ...]
    ended: bool


class Rerun:
    """A stream that stores its rows and computes all of them for every new one."""

    def __init__(self, talker: Talker) -> None:
        self._talker = talker
        self._rows: list[Tensor] = []

    def __call__(self, rows: Tensor) -> Tensor:
        self._rows.append(rows)
        return self._talker.hidden(torch.cat(self._rows)[None])[0, -1]


def family_sampling(seed: int) -> StreamSampling:
    """The family's defaults: Qwen3-Omni's, but a predictor with temperature 0.9, top-k 50 and no top-p."""
    return StreamSampling(seed=seed, predictor_temperature=0.9, predictor_top_p=1.0)


@torch.no_grad()
def speak(
    talker: Talker,
    prompt_rows: Tensor,
    text_ids: Sequence[int],
    tts_eos: int,
    sampling: StreamSampling,
    max_frames: int,
    extend: Extend | None = None,
) -> Speech:
    """Generates one answer's speech. `prompt_rows` end with tts_bos and codec_bos; `text_ids` lack tts_eos.

    The repetition penalty covers the codes of one chunk. A frame after a chunk's last one is not drawn.
    """
    stream = _Stream(talker, extend or Rerun(talker), sampling)
    pieces = chunks(text_ids, tts_eos, talker.config.text_tokens_per_chunk)
    for number, chunk in enumerate(pieces):
        rows = talker.text_rows(chunk.text)
        state = stream.enter_text(rows if number else torch.cat((prompt_rows, rows)), len(chunk.text))
        wanted = max_frames if chunk.last else talker.config.frames_per_chunk
        if not stream.decode(state, chunk, min(wanted, max_frames - len(stream.codes))):
            return stream.speech(ended=True)
        if len(stream.codes) == max_frames:
            break
    return stream.speech(ended=False)


class _Stream:
    def __init__(self, talker: Talker, extend: Extend, sampling: StreamSampling) -> None:
        self._talker = talker
        self._extend = extend
        self._sampling = SlotSampling.empty(1, talker.device)
        self._sampling.put(0, sampling)
        self._order: list[Row] = []
        self._text = 0
        self.codes: list[Tensor] = []

    def enter_text(self, rows: Tensor, tokens: int) -> Tensor:
        self._order += [Row(Kind.TEXT, self._text + index) for index in range(tokens)]
        self._text += tokens
        return self._extend(rows)

    def decode(self, state: Tensor, chunk: Chunk, frames: int) -> bool:
        """Draws up to `frames` frames after `state`. False if EOS was drawn."""
        config = self._talker.config
        device = self._talker.device
        seen = torch.zeros(1, config.codec_vocab_size, dtype=torch.bool, device=device)
        masked = torch.zeros_like(seen[0])
        masked[-config.suppressed_codes or len(masked) :] = True
        masked[config.codec_eos_token_id] = not chunk.last
        for _ in range(frames):
            row = self._row()
            code0 = draw_code0(self._talker.codec_head(state)[None].float(), row, seen, masked)
            if int(code0) == config.codec_eos_token_id:
                return False
            seen[0, code0] = True
            draw = ResidualDraw(row, config.num_code_groups)
            code0_row = self._talker.code_rows(code0)
            rest = self._talker.code_predictor.draw(state[None], code0_row, draw)
            state = self._enter_frame(torch.cat((code0[:, None], rest), dim=1))
        return True

    def speech(self, ended: bool) -> Speech:
        groups = self._talker.config.num_code_groups
        nothing = torch.zeros(0, groups, dtype=torch.int64, device=self._talker.device)
        return Speech(torch.cat([nothing, *self.codes]), tuple(self._order), ended)

    def _enter_frame(self, codes: Tensor) -> Tensor:
        self._order.append(Row(Kind.FRAME, len(self.codes)))
        self.codes.append(codes)
        return self._extend(self._talker.frame_rows(codes))

    def _row(self) -> Sampling:
        device = self._talker.device
        return self._sampling.rows(
            torch.zeros(1, dtype=torch.int64, device=device), torch.tensor([len(self.codes)], device=device)
        )
