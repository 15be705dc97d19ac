"""When a step's sound is made: behind the draw of its codes, or on a GPU beside the next step's backbone.

The vocoder's state belongs to the sound: what else reads or writes it must `join` first, as must the next
step's draw, whose CUDA graph writes to what the sound reads.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

import torch

VocoderStream = Literal["own", "main"]
Work = Callable[[], None]


class SoundOrder(Protocol):
    """Orders the launches of one thread."""

    def run(self, work: Work) -> None:
        """Runs `work` behind all that was launched before. One `join` must come between two of them."""

    def join(self) -> None:
        """Lets what is launched from now on wait for the work; does not wait on the host."""


class InOrder:
    """On a CPU, or on one CUDA stream."""

    def run(self, work: Work) -> None:
        work()

    def join(self) -> None:
        """Does nothing: the work is in front of all that follows."""


class CudaCalls(Protocol):
    """As much of `torch.cuda` as `SideStream` calls."""

    def Stream(self, device: torch.device) -> Any: ...  # noqa: N802 - PyTorch's name

    def Event(self) -> Any: ...  # noqa: N802 - PyTorch's name

    def current_stream(self, device: torch.device) -> Any: ...

    def stream(self, stream: Any) -> AbstractContextManager[Any]: ...


class SideStream:
    """A CUDA stream of its own, which an event starts and another one joins."""

    def __init__(self, device: torch.device, cuda: CudaCalls) -> None:
        self._device = device
        self._cuda = cuda
        self._stream = cuda.Stream(device)
        self._begins, self._ends = cuda.Event(), cuda.Event()
        self._running: Work | None = None

    def run(self, work: Work) -> None:
        self._begins.record(self._cuda.current_stream(self._device))
        self._stream.wait_event(self._begins)
        with self._cuda.stream(self._stream):
            work()
        self._ends.record(self._stream)
        # The allocator gives freed memory to the stream that had it, which does not wait for this one. What
        # the work reads is therefore kept until the streams are joined.
        self._running = work

    def join(self) -> None:
        if self._running is not None:
            self._cuda.current_stream(self._device).wait_event(self._ends)
            self._running = None


def sound_order(device: torch.device, stream: VocoderStream) -> SoundOrder:
    """On a GPU as the setting says; on a CPU there are no streams."""
    if device.type == "cuda" and stream == "own":
        return SideStream(device, torch.cuda)
    return InOrder()


def joined(order: SoundOrder, reset: Callable[[torch.Tensor], None]) -> Callable[[torch.Tensor], None]:
    """Resets slots of the vocoder behind the sound that is made from them."""

    def joined_reset(slots: torch.Tensor) -> None:
        order.join()
        reset(slots)

    return joined_reset
