"""The end of a Talker step as two functions of tensors: one draws a frame per request, one makes its sound.

CUDA graphs can capture them: their shapes follow from the number of rows, they read nothing on the host, copy
nothing from there, and change all state in place. They share no state, so they can run on two streams.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from antiphon_executor.ipc.frame_sender import FAILED, StepFrames
from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav
from antiphon_executor.models.talker.code_predictor import CodePredictor
from antiphon_executor.models.talker.draw_kernel import draw_code0
from antiphon_executor.models.talker.sampling import ResidualDraw, suppressed_codes
from antiphon_executor.models.talker.slots import PADDING_SLOT, SlotPool


@dataclass(frozen=True, slots=True, eq=False)
class SpeechHead:
    """The modules of a Talker after its backbone. `embed_code0`: int64 [n] → [n, hidden]."""

    codec_head: nn.Linear
    embed_code0: Callable[[Tensor], Tensor]
    predictor: CodePredictor
    vocoder: StreamingCode2Wav
    codec_eos: int
    suppressed_tail: int


@dataclass(frozen=True, slots=True, eq=False)
class FrameInputs:
    """n rows, one per request. A row of the padding slot draws nothing, whatever else it has.

    `hidden` [n, hidden], the backbone's output; `slot`, `frame` int64 [n]; `may_end`, `restarts` bool [n], as
    in `FrameDraws`.
    """

    hidden: Tensor
    slot: Tensor
    frame: Tensor
    may_end: Tensor
    restarts: Tensor

    @classmethod
    def padding(cls, rows: int, pool: SlotPool) -> FrameInputs:
        """Buffers of `rows` padding rows."""
        device = pool.device
        return cls(
            hidden=torch.zeros(rows, pool.shape.hidden, dtype=pool.dtype, device=device),
            slot=torch.full((rows,), PADDING_SLOT, dtype=torch.int64, device=device),
            frame=torch.full((rows,), -1, dtype=torch.int64, device=device),
            may_end=torch.zeros(rows, dtype=torch.bool, device=device),
            restarts=torch.zeros(rows, dtype=torch.bool, device=device),
        )

    def first(self, rows: int) -> FrameInputs:
        """Views of the first rows."""
        return self.around(self.hidden[:rows])

    def around(self, hidden: Tensor) -> FrameInputs:
        """The rows of other hidden states: `hidden` itself, and views of the rest."""
        n = hidden.shape[0]
        return FrameInputs(hidden, self.slot[:n], self.frame[:n], self.may_end[:n], self.restarts[:n])


@dataclass(frozen=True, slots=True, eq=False)
class DrawnFrames:
    """n rows, and all that their sound is made of, in memory of its own.

    `logits` float32 [n, codec_vocab]: one-hot of code 0; NaN where the frame could not be drawn. `stream`
    int64 [n], -1 if there is no frame; `frame` int64 [n]; `ended` bool [n]; `codes` int64 [n, groups];
    `slot` int64 [n]: the vocoder's, the padding slot if there is nothing to decode.
    """

    logits: Tensor
    stream: Tensor
    frame: Tensor
    ended: Tensor
    codes: Tensor
    slot: Tensor


class FrameEnd:
    """`draw` changes the slots of `pool`, `sound` the vocoder's."""

    def __init__(self, head: SpeechHead, pool: SlotPool) -> None:
        self._head = head
        self._pool = pool
        vocab, device = pool.shape.codec_vocab, pool.device
        self._suppressed = suppressed_codes(vocab, head.codec_eos, device, head.suppressed_tail)
        self._is_eos = torch.arange(vocab, device=device) == head.codec_eos

    def draw(self, given: FrameInputs) -> DrawnFrames:
        """One frame of each row that is due; its codes go into the slots."""
        head, pool, slot, frame = self._head, self._pool, given.slot, given.frame
        at = frame.clamp(0, pool.shape.max_frames - 1)
        old = frame < pool.frames[slot]
        sampling = pool.sampling.rows(slot, at)
        seen = pool.seen[slot] & ~given.restarts.unsqueeze(1)
        masked = self._suppressed | (self._is_eos & ~given.may_end.unsqueeze(1))
        scores = head.codec_head(given.hidden)
        drawn = draw_code0(scores, sampling, seen, masked)
        code0 = torch.where(old & (frame >= 0), pool.history[slot, at, 0].to(torch.int64), drawn)
        ended = code0 == head.codec_eos
        draws = (slot != PADDING_SLOT) & (frame >= 0) & ~old & ~pool.ended[slot]
        # The sum is NaN or infinite if one of its terms is.
        live = draws & scores.float().sum(-1).isfinite()
        draw = ResidualDraw(sampling, pool.shape.code_groups)
        residual = head.predictor(given.hidden, head.embed_code0(code0), draw)
        codes = torch.cat([code0.unsqueeze(1), residual], dim=1)
        pool.ended.index_fill_(0, torch.where(live & ended, slot, PADDING_SLOT), True)
        target = torch.where(live & ~ended, slot, PADDING_SLOT)
        self._keep(target, at, codes, seen)
        # The scheduler ends requests with NaN logits.
        logits = _one_hot(code0, pool.shape.codec_vocab)
        return DrawnFrames(
            logits=logits.masked_fill((draws & ~live).unsqueeze(1), torch.nan),
            stream=torch.where(live, pool.stream[slot], -1),
            # The next step's `begin` writes to `given` while this step's sound is made.
            frame=frame.clone(),
            ended=ended,
            codes=codes,
            slot=target,
        )

    def sound(self, drawn: DrawnFrames) -> StepFrames:
        """The frames with their sound. One whose sound is no number fails its stream."""
        spoken = torch.where((drawn.slot != PADDING_SLOT).unsqueeze(1), drawn.codes, 0)
        sound = self._head.vocoder(spoken.unsqueeze(1), drawn.slot)
        audible = sound.sum(-1).isfinite() | drawn.ended
        return StepFrames(
            stream=drawn.stream,
            frame=torch.where(audible, drawn.frame, FAILED),
            ended=drawn.ended,
            codes=drawn.codes.to(torch.int16),
            pcm=(sound * 32767.0).round().to(torch.int16),
        )

    def _keep(self, target: Tensor, at: Tensor, codes: Tensor, seen: Tensor) -> None:
        """Writes frames into their slots; rows without a frame write to the padding slot."""
        pool = self._pool
        pool.history[target, at] = codes.to(torch.int16)
        # A copied constant would make the host wait: `index_put_` takes True from its memory.
        pool.seen.index_copy_(0, target, seen.scatter(1, codes[:, :1], True))
        pool.frames.index_copy_(0, target, at + 1)


def _one_hot(token: Tensor, width: int) -> Tensor:
    logits = torch.full((token.shape[0], width), float("-inf"), device=token.device)
    return logits.scatter_(1, token.unsqueeze(1), 0.0)
