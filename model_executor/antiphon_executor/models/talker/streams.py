"""What the Talker's worker asks of a family: how its streams open and close, and what each row may draw.

The two families differ in how text enters: on a second track (`DualTrackStreams`), or between the frames of
one stream (`AriaStreams`). All else is the same slots, step, scheduler and vocoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from antiphon_executor.models.talker.slots import SlotPool
from antiphon_executor.models.talker.step_rows import StepRows


@dataclass(frozen=True, slots=True, eq=False)
class FrameDraws:
    """What the last rows of one step draw, each [R].

    `frame` int64: the frame's index in its stream, negative where nothing is drawn; below the slot's count
    where a preempted stream is computed again. `may_end` bool: EOS may be drawn. `restarts` bool: the frame
    begins a new window of the repetition penalty.
    """

    frame: torch.Tensor
    may_end: torch.Tensor
    restarts: torch.Tensor


class Streams(Protocol):
    """The open streams of a family, in the slots of `pool`."""

    @property
    def pool(self) -> SlotPool: ...

    def open(self, packed: bytes) -> None:
        """Opens the stream that a request brings along in `extra_args[EXTRA_ARG]`.

        Raises `ValueError` where the slot is not free, `PromptEmbeddingsFull` where its rows do not fit.
        """

    def close(self, slot: int) -> None:
        """Frees a slot; nothing where it is not open."""

    def draws(self, rows: StepRows) -> FrameDraws:
        """What the step's requests draw. Never waits for the device."""
