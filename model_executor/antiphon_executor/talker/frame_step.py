"""The end of a Talker step: one frame a request, from its hidden state to its sound.

In: the step's rows, then the hidden states of their last tokens. Out: codes into the slots, frames to the
sender, and logits that leave vLLM's sampler one choice. No host sync, no branch on device data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from antiphon_executor.talker.frame_sender import FrameSender, StepFrames
from antiphon_executor.talker.sampling import ResidualDraw, draw_code0, suppressed_codes
from antiphon_executor.talker.slots import TRASH_SLOT, SlotPool
from antiphon_executor.talker.stream_state import Rows

if TYPE_CHECKING:
    from antiphon_executor.talker.model import Qwen3OmniTalker


class FrameStep:
    """Holds the rows between `forward` and `compute_logits` in buffers of fixed address (CUDA graphs).

    A row draws frame `seq_len - prompt_len`: negative while its prompt is still being computed (nothing is
    drawn), below the slot's count where a preempted stream is computed again (the history answers).
    """

    def __init__(self, talker: Qwen3OmniTalker, pool: SlotPool, sender: FrameSender) -> None:
        self._talker = talker
        self._pool = pool
        self._sender = sender
        self._eos = talker.config.codec_eos_id
        self._suppressed = suppressed_codes(pool.shape.codec_vocab, self._eos, pool.device)
        rows = pool.shape.slots + talker.vllm_config.scheduler_config.max_num_seqs
        self._slot = torch.full((rows,), TRASH_SLOT, dtype=torch.int64, device=pool.device)
        self._frame = torch.full((rows,), -1, dtype=torch.int64, device=pool.device)

    def begin(self, rows: Rows | None) -> None:
        """Notes which slot and frame each request of this step has; None is a profiling run."""
        if rows is None:
            self._slot.fill_(TRASH_SLOT)
            self._frame.fill_(-1)
            return
        n = rows.slot.shape[0]
        self._slot[:n] = rows.slot
        self._frame[:n] = rows.seq_len - self._pool.prompt_len[rows.slot]

    @torch.inference_mode()
    def finish(self, hidden: torch.Tensor) -> torch.Tensor:
        """`hidden`: [R, hidden], in the order of the requests -> one-hot logits float32 [R, codec_vocab]."""
        talker, pool = self._talker, self._pool
        n = min(hidden.shape[0], self._slot.shape[0])
        slot, frame = self._rows(hidden.shape[0], n)
        at = frame.clamp(0, pool.shape.max_frames - 1)
        old = frame < pool.frames[slot]
        sampling = pool.sampling.rows(slot, at)
        drawn = draw_code0(talker.codec_head(hidden), sampling, pool.seen[slot], self._suppressed)
        code0 = torch.where(old & (frame >= 0), pool.history[slot, at, 0].to(torch.int64), drawn)
        ended = code0 == self._eos
        live = (slot != TRASH_SLOT) & (frame >= 0) & ~old & ~pool.ended[slot]
        speaks = live & ~ended
        draw = ResidualDraw(sampling, pool.shape.code_groups)
        residual = talker.code_predictor(hidden, talker.model.codec_embedding(code0), draw)
        codes = torch.cat([code0.unsqueeze(1), residual], dim=1)
        sound = self._keep(slot, at, codes, speaks, live & ended)
        self._send(slot, frame, live, ended, codes, sound)
        return _one_hot(code0, pool.shape.codec_vocab)

    def _rows(self, count: int, known: int) -> tuple[torch.Tensor, torch.Tensor]:
        if count == known:
            return self._slot[:count], self._frame[:count]
        device = self._slot.device
        trash = torch.full((count,), TRASH_SLOT, dtype=torch.int64, device=device)
        return trash, torch.full_like(trash, -1)

    def _keep(
        self,
        slot: torch.Tensor,
        at: torch.Tensor,
        codes: torch.Tensor,
        speaks: torch.Tensor,
        ends: torch.Tensor,
    ) -> torch.Tensor:
        """Writes the frame into its slot and advances the vocoder. -> sound float32 [R, samples_per_frame]"""
        pool = self._pool
        target = torch.where(speaks, slot, TRASH_SLOT)
        pool.history[target, at] = codes.to(torch.int16)
        pool.seen[target, codes[:, 0]] = True
        pool.frames[target] = at + 1
        pool.ended[torch.where(ends, slot, TRASH_SLOT)] = True
        spoken = torch.where(speaks.unsqueeze(1), codes, 0)
        return self._talker.code2wav(spoken.unsqueeze(1), target)

    def _send(
        self,
        slot: torch.Tensor,
        frame: torch.Tensor,
        live: torch.Tensor,
        ended: torch.Tensor,
        codes: torch.Tensor,
        sound: torch.Tensor,
    ) -> None:
        self._sender.send(
            StepFrames(
                stream=torch.where(live, self._pool.stream[slot], -1),
                frame=frame,
                ended=ended,
                codes=codes.to(torch.int16),
                pcm=(sound * 32767.0).round().to(torch.int16),
            )
        )


def _one_hot(token: torch.Tensor, width: int) -> torch.Tensor:
    logits = torch.full((token.shape[0], width), float("-inf"), device=token.device)
    return logits.scatter_(1, token.unsqueeze(1), 0.0)
