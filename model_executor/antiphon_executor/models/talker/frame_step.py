"""The end of a Talker step: draws one frame per request from its hidden state, and decodes its audio.

Codes go into the slots, frames to the sender, and to vLLM one-hot logits of code 0. No host sync and no
branch on device data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from antiphon_executor.ipc.frame_sender import FrameSender, StepFrames
from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav
from antiphon_executor.models.talker.code_predictor import CodePredictor
from antiphon_executor.models.talker.draw_kernel import draw_code0
from antiphon_executor.models.talker.sampling import ResidualDraw, suppressed_codes
from antiphon_executor.models.talker.slots import PADDING_SLOT
from antiphon_executor.models.talker.step_rows import StepRows
from antiphon_executor.models.talker.streams import Streams


@dataclass(frozen=True, slots=True, eq=False)
class SpeechHead:
    """The modules of a Talker after its backbone. `embed_code0`: int64 [n] → [n, hidden]."""

    codec_head: nn.Linear
    embed_code0: Callable[[torch.Tensor], torch.Tensor]
    predictor: CodePredictor
    vocoder: StreamingCode2Wav
    codec_eos: int
    suppressed_tail: int


class FrameStep:
    """Keeps a step's slots and draws from `forward` to `compute_logits`, in fixed buffers (CUDA graphs).

    `rows`: the largest number of requests in a step.
    """

    def __init__(self, head: SpeechHead, streams: Streams, sender: FrameSender, rows: int) -> None:
        self._head = head
        self._streams = streams
        self.pool = pool = streams.pool
        self._sender = sender
        vocab, device = pool.shape.codec_vocab, pool.device
        self._suppressed = suppressed_codes(vocab, head.codec_eos, device, head.suppressed_tail)
        self._is_eos = torch.arange(vocab, device=device) == head.codec_eos
        self._slot = torch.full((rows,), PADDING_SLOT, dtype=torch.int64, device=device)
        self._frame = torch.full((rows,), -1, dtype=torch.int64, device=device)
        self._may_end = torch.zeros(rows, dtype=torch.bool, device=device)
        self._restarts = torch.zeros(rows, dtype=torch.bool, device=device)

    def begin(self, rows: StepRows | None) -> None:
        """Records the slot of each request and what it draws. None: a profiling run."""
        if rows is None:
            self._slot.fill_(PADDING_SLOT)
            self._frame.fill_(-1)
            return
        n = rows.slot.shape[0]
        draws = self._streams.draws(rows)
        self._slot[:n] = rows.slot
        self._frame[:n] = draws.frame
        self._may_end[:n] = draws.may_end
        self._restarts[:n] = draws.restarts

    @torch.inference_mode()
    def finish(self, hidden: torch.Tensor) -> torch.Tensor:
        """`hidden`: [R, hidden], in request order → one-hot logits float32 [R, codec_vocab]."""
        head, pool, n = self._head, self.pool, hidden.shape[0]
        if n > self._slot.shape[0]:
            return hidden.new_zeros(n, pool.shape.codec_vocab, dtype=torch.float32)
        slot, frame = self._slot[:n], self._frame[:n]
        at = frame.clamp(0, pool.shape.max_frames - 1)
        old = frame < pool.frames[slot]
        sampling = pool.sampling.rows(slot, at)
        seen = pool.seen[slot] & ~self._restarts[:n].unsqueeze(1)
        masked = self._suppressed | (self._is_eos & ~self._may_end[:n].unsqueeze(1))
        scores = head.codec_head(hidden)
        drawn = draw_code0(scores, sampling, seen, masked)
        code0 = torch.where(old & (frame >= 0), pool.history[slot, at, 0].to(torch.int64), drawn)
        ended = code0 == head.codec_eos
        draws = (slot != PADDING_SLOT) & (frame >= 0) & ~old & ~pool.ended[slot]
        # The sum is NaN or infinite if one of its terms is.
        live = draws & scores.float().sum(-1).isfinite()
        draw = ResidualDraw(sampling, pool.shape.code_groups)
        residual = head.predictor(hidden, head.embed_code0(code0), draw)
        codes = torch.cat([code0.unsqueeze(1), residual], dim=1)
        pool.ended[torch.where(live & ended, slot, PADDING_SLOT)] = True
        target = torch.where(live & ~ended, slot, PADDING_SLOT)
        self._keep(target, at, codes, seen)
        spoken = torch.where((target != PADDING_SLOT).unsqueeze(1), codes, 0)
        sound = head.vocoder(spoken.unsqueeze(1), target)
        live &= sound.sum(-1).isfinite() | ended
        self._send(slot, frame, live, ended, codes, sound)
        # The scheduler ends requests with NaN logits.
        return _one_hot(code0, pool.shape.codec_vocab).masked_fill((draws & ~live).unsqueeze(1), torch.nan)

    def _keep(self, target: torch.Tensor, at: torch.Tensor, codes: torch.Tensor, seen: torch.Tensor) -> None:
        """Writes frames into their slots; rows without a frame write to the padding slot."""
        pool = self.pool
        pool.history[target, at] = codes.to(torch.int16)
        pool.seen[target] = seen
        pool.seen[target, codes[:, 0]] = True
        pool.frames[target] = at + 1

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
                stream=torch.where(live, self.pool.stream[slot], -1),
                frame=frame,
                ended=ended,
                codes=codes.to(torch.int16),
                pcm=(sound * 32767.0).round().to(torch.int16),
            )
        )


def _one_hot(token: torch.Tensor, width: int) -> torch.Tensor:
    logits = torch.full((token.shape[0], width), float("-inf"), device=token.device)
    return logits.scatter_(1, token.unsqueeze(1), 0.0)
