"""The end of a small Talker's step with random weights, whose streams draw the frames that a test names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from antiphon_executor.ipc.frame_sender import StepFrames
from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav
from antiphon_executor.models.talker.frame_step import FrameStep
from antiphon_executor.models.talker.sampling import StreamSampling
from antiphon_executor.models.talker.slots import NewStream, SlotPool, SlotShape
from antiphon_executor.models.talker.step.frame_end import SpeechHead
from antiphon_executor.models.talker.step.frame_graphs import Capture, Captured
from antiphon_executor.models.talker.step.sound_order import InOrder, SoundOrder, joined
from antiphon_executor.models.talker.step_rows import StepRows
from antiphon_executor.models.talker.streams import FrameDraws
from tests.talker.test_code_predictor import SMALL, pair
from tests.talker.vocoder_oracle import SIZES, random_code2wav

CODEC_VOCAB, EOS, TAIL, GROUPS, STREAMS = 80, 70, 12, 4, 6
HIDDEN = 48
Row = tuple[int, int]
"""(slot, frame)."""
T = TypeVar("T")


@dataclass(frozen=True)
class PromptlessStreams:
    """Streams without a prompt: `StepRows.seq_len` is the frame that a row draws."""

    pool: SlotPool

    def open(self, packed: bytes) -> None:
        raise NotImplementedError

    def close(self, slot: int) -> None:
        self.pool.close(slot)

    def draws(self, rows: StepRows) -> FrameDraws:
        never = torch.zeros_like(rows.seq_len, dtype=torch.bool)
        return FrameDraws(frame=rows.seq_len, may_end=~never, restarts=never)


class FrameRig:
    """`sent`: the frames of each step. Equal seeds give equal rigs. `order`: in order by default."""

    def __init__(self, rows: int = STREAMS + 2, seed: int = 0, order: SoundOrder | None = None) -> None:
        order = order or InOrder()
        predictor = pair(SMALL | {"num_code_groups": GROUPS}, seed)[1]
        vocoder = StreamingCode2Wav(SIZES["unit"], slots=STREAMS + 1)
        vocoder.load_state_dict(random_code2wav(SIZES["unit"], seed).state_dict())
        head, table = nn.Linear(HIDDEN, CODEC_VOCAB, bias=False), nn.Embedding(CODEC_VOCAB, HIDDEN)
        shape = SlotShape(STREAMS + 1, 64, GROUPS, CODEC_VOCAB, HIDDEN, 64)
        self.pool = SlotPool(
            shape, dtype=torch.float32, device=torch.device("cpu"), reset_vocoder=joined(order, vocoder.reset)
        )
        self.vocoder = vocoder
        self.speech = SpeechHead(head, table, predictor, vocoder, EOS, TAIL)
        self.sent: list[StepFrames] = []
        sender: Any = self
        self.step = FrameStep(self.speech, PromptlessStreams(self.pool), sender, rows, order)
        for slot in range(1, STREAMS + 1):
            self.open(100 + slot, slot)

    def open(self, stream: int, slot: int) -> None:
        sampling = StreamSampling(seed=stream, temperature=0.9 if slot % 2 else 0.0)
        self.pool.open(NewStream(stream, slot, 0, sampling, torch.zeros(0, HIDDEN)))

    def send(self, step: StepFrames) -> None:
        self.sent.append(StepFrames(*(tensor.clone() for tensor in tensors_of(step))))

    def run(self, rows: Sequence[Row], hidden: Tensor) -> Tensor:
        """One step of these rows; `hidden` [rows, HIDDEN]. Returns the logits."""
        slot, frame = (torch.tensor(column, dtype=torch.int64) for column in zip(*rows, strict=True))
        self.step.begin(StepRows(slot, frame, slot, frame))
        return self.step.finish(hidden).clone()

    def state(self, slots: slice) -> list[Tensor]:
        """A copy of all that the slots keep."""
        pool, vocoder = self.pool, self.vocoder.state
        kept = (
            pool.history,
            pool.frames,
            pool.seen,
            pool.ended,
            vocoder.tails,
            vocoder.rings,
            vocoder.positions,
        )
        return [tensor[slots].clone() for tensor in kept]


def recomputed(run: Callable[[], T]) -> Captured[T]:
    """As a CUDA graph: a replay computes the same function of the same buffers, into the same outputs."""
    outputs = run()
    into = type(outputs)(*(tensor.clone() for tensor in tensors_of(outputs)))

    def replay() -> None:
        for old, new in zip(tensors_of(into), tensors_of(run()), strict=True):
            old.copy_(new)

    return Captured(replay, into)


def in_buckets() -> Capture:
    """A `new_capture`."""
    return recomputed


def tensors_of(outputs: Any) -> list[Tensor]:
    """The fields of `DrawnFrames` or `StepFrames`."""
    return [getattr(outputs, field.name) for field in fields(outputs)]
