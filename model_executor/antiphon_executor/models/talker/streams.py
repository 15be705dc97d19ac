"""The interface of a model family to the Talker's worker: streams open, close, and draw frames.

Families differ in how text enters: on a second track (`TextTrackStreams`), or between the frames of one
stream. Slots, frame step, scheduler and vocoder are shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from antiphon_executor.models.talker.slots import SlotPool
from antiphon_executor.models.talker.step_rows import StepRows


@dataclass(frozen=True, slots=True, eq=False)
class FrameDraws:
    """What the last row of each request in a step draws, [R] on the device.

    `frame` int64: index of the frame in its stream, negative if the row draws nothing; below the slot's frame
    count if a preempted stream is computed again. `may_end` bool: EOS may be drawn. `restarts` bool: the
    frame starts a new window of the repetition penalty.
    """

    frame: torch.Tensor
    may_end: torch.Tensor
    restarts: torch.Tensor


@runtime_checkable
class Streams(Protocol):
    """The open streams of a family, in the slots of `pool`."""

    @property
    def pool(self) -> SlotPool: ...

    def open(self, packed: bytes) -> None:
        """Opens the stream whose start message a request carries in `extra_args[EXTRA_ARG]`.

        Raises `ValueError` if the slot is not free, `PromptEmbeddingsFull` if the embeddings do not fit.
        """

    def close(self, slot: int) -> None:
        """Frees a slot; does nothing if it is not open."""

    def draws(self, rows: StepRows) -> FrameDraws:
        """What the step's requests draw. Does not synchronise with the device."""


@runtime_checkable
class TextTrackStreams(Streams, Protocol):
    """Streams whose text is a track of its own: the scheduler appends to it, and frames wait for it."""

    def is_open(self, stream: int) -> bool: ...

    def append_text(self, stream: int, text_ids: list[int], *, final: bool) -> None:
        """Adds to the text of an open stream; `final` with the last of it."""

    def write_text(self) -> None:
        """Makes the model see what was appended to all streams."""

    def is_ready(self, slot: int, frame: int) -> bool:
        """Whether the text that frame `frame` needs has arrived."""
