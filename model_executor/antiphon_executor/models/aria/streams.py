"""ARIA streams: text enters between the frames, so that a row's place says what it is and what it draws.

The length of the text is read from the stream itself, on the device, when tts_eos enters.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import torch

from antiphon_executor.models.aria.order import UNKNOWN, AriaOrder
from antiphon_executor.models.aria.prompt import AriaStart
from antiphon_executor.models.talker.slots import NewStream, SlotPool
from antiphon_executor.models.talker.step_rows import StepRows
from antiphon_executor.models.talker.streams import FrameDraws
from antiphon_executor.models.talker.upload import uploaded


class AriaStreams:
    """`total` int64 [slots]: text tokens of a stream, `UNKNOWN` until tts_eos has entered.

    `embed_prompt`: the voice's codes, int64 [frames, groups], and the multimodal hidden states
    [rows, thinker_hidden] → prompt embeddings [frames + rows, hidden]. Called once, as a stream opens.
    """

    def __init__(
        self,
        pool: SlotPool,
        order: AriaOrder,
        *,
        end_token: int,
        thinker_hidden: int,
        embed_prompt: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> None:
        self.pool = pool
        self.order = order
        self.total = torch.full((pool.shape.slots,), UNKNOWN, dtype=torch.int64, device=pool.device)
        self._end_token = end_token
        self._thinker_hidden = thinker_hidden
        self._embed_prompt = embed_prompt

    @torch.no_grad()  # otherwise the prompt embeddings would keep the autograd graph of every prompt
    def open(self, packed: bytes) -> None:
        start = msgspec.msgpack.decode(packed, type=AriaStart)
        codes = np.frombuffer(start.voice_codes, np.int16).reshape(-1, self.pool.shape.code_groups)
        voice = uploaded(torch.from_numpy(codes.astype(np.int64)), self.pool.device)
        media = self.pool.rows_of(start.hidden_states, start.hidden_states_dtype, self._thinker_hidden)
        embeddings = self._embed_prompt(voice, media)
        self.pool.open(NewStream(start.stream, start.slot, start.prompt_tokens, start.sampling, embeddings))
        self.total[start.slot] = UNKNOWN

    def close(self, slot: int) -> None:
        if self.pool.close(slot):
            self.total[slot] = UNKNOWN

    def enter(self, rows: StepRows, token_ids: torch.Tensor) -> None:
        """Records where texts end. Must be called before the other methods in a step. `token_ids`: [N]."""
        slot = rows.slot[rows.token_request]
        offset = rows.token_index - self.pool.prompt_len[slot]
        ends = (token_ids == self._end_token) & (offset >= 0)
        unknown = torch.full_like(offset, UNKNOWN)
        length = self.order.text_before(offset, unknown) + 1
        self.total.scatter_reduce_(0, slot, torch.where(ends, length, unknown), "amin")

    def frame_at(self, slot: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        """The index of the frame `offset` rows after the prompt, or of the next one. All int64 [N]."""
        return self.order.frame_at(offset, self.total[slot])

    def draws(self, rows: StepRows) -> FrameDraws:
        """A row draws the frame after it; EOS may be drawn only after all text has entered.

        The first frame after text starts a new window of the repetition penalty, as in `reference.speech`.
        """
        total = self.total[rows.slot]
        place = rows.seq_len - 1 - self.pool.prompt_len[rows.slot]
        draws_frame = (place >= 0) & ~self.order.is_text(place + 1, total)
        return FrameDraws(
            frame=torch.where(draws_frame, self.order.frame_at(place + 1, total), -1),
            may_end=self.order.text_before(place + 1, total) >= total,
            restarts=self.order.is_text(place, total),
        )
