"""CUDA graphs of the end of a Talker step, two for each bucket of rows: the draw, and the sound.

A step is padded to the next bucket with rows of the padding slot, which change no other slot. Without graphs,
and above the largest bucket, the same functions run eagerly.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

import torch

from antiphon_executor.ipc.frame_sender import StepFrames
from antiphon_executor.models.talker.slots import PADDING_SLOT
from antiphon_executor.models.talker.step.frame_end import DrawnFrames, FrameEnd, FrameInputs

LARGEST_BUCKET = 256
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Captured(Generic[T]):
    """`replay` computes `outputs` again, in place, from what is in the buffers then."""

    replay: Callable[[], None]
    outputs: T


class Capture(Protocol):
    """Captures a function without arguments."""

    def __call__(self, run: Callable[[], T]) -> Captured[T]: ...


@dataclass(frozen=True, slots=True, eq=False)
class StepEnd:
    """A step's end, drawn. `sound` makes its sound, once, before the next step is drawn.

    `logits` as in `DrawnFrames`, which the next step may overwrite.
    """

    logits: torch.Tensor
    sound: Callable[[], StepFrames]


@dataclass(frozen=True, slots=True, eq=False)
class _Bucket:
    draw: Captured[DrawnFrames]
    sound: Captured[StepFrames]


def buckets(rows: int) -> list[int]:
    """Sizes of graphs for steps of up to `rows` requests: 1, 2, 4, then multiples of 8, from 64 of 32."""
    sizes = [1, 2, 4, *range(8, 64, 8), *range(64, LARGEST_BUCKET + 1, 32)]
    most = min(rows, LARGEST_BUCKET)
    return [size for size in sizes if size < most] + [most]


class FrameGraphs:
    """Runs `end` on the first rows of `inputs`, whose buffers the caller fills, hidden states excepted."""

    def __init__(self, end: FrameEnd, inputs: FrameInputs) -> None:
        self._end = end
        self._inputs = inputs
        self._by_size: dict[int, _Bucket] = {}
        self._sizes: list[int] = []

    @property
    def sizes(self) -> list[int]:
        """The captured buckets, ascending."""
        return self._sizes

    @torch.inference_mode()
    def capture(self, rows: int, new_capture: Callable[[], Capture]) -> None:
        """Captures the buckets for steps of up to `rows` requests; `new_capture`: `cuda_capture`.

        The graphs of one capture share memory, so the sound, which runs on a stream of its own, has another.
        The largest bucket is first, so that the others reuse its memory. Runs on padding rows: no stream
        changes.
        """
        self.release()
        draw, sound = new_capture(), new_capture()
        self._inputs.slot.fill_(PADDING_SLOT)
        for size in reversed(buckets(rows)):
            drawn = draw(partial(self._end.draw, self._inputs.first(size)))
            self._by_size[size] = _Bucket(drawn, sound(partial(self._end.sound, drawn.outputs)))
        self._sizes = sorted(self._by_size)

    def release(self) -> None:
        """Drops the graphs and their memory."""
        self._by_size, self._sizes = {}, []

    def run(self, hidden: torch.Tensor) -> StepEnd:
        """Draws the frames of a step. `hidden`: [n, hidden]."""
        n = hidden.shape[0]
        index = bisect_left(self._sizes, n)
        if index == len(self._sizes):
            drawn = self._end.draw(self._inputs.around(hidden))
            return StepEnd(drawn.logits, partial(self._end.sound, drawn))
        size = self._sizes[index]
        self._inputs.hidden[:n].copy_(hidden)
        self._inputs.slot[n:size].fill_(PADDING_SLOT)
        bucket = self._by_size[size]
        bucket.draw.replay()

        def sound() -> StepFrames:
            bucket.sound.replay()
            return bucket.sound.outputs.first(n)

        return StepEnd(bucket.draw.outputs.logits[:n], sound)


def cuda_capture() -> Capture:
    """CUDA graphs that share memory, and a stream to be captured on, with each other and with no others."""
    pool = torch.cuda.graph_pool_handle()
    # cuBLAS keeps a workspace for each stream, and graphs keep the workspace of the stream of their capture.
    stream = torch.cuda.Stream()

    def capture(run: Callable[[], T]) -> Captured[T]:
        # Kernels are compiled and workspaces allocated outside the graph.
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads, which send frames and read sockets, may call CUDA meanwhile.
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            outputs = run()
        return Captured(graph.replay, outputs)

    return capture
