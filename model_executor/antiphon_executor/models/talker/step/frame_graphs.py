"""CUDA graphs of the end of a Talker step, one for each bucket of rows, over the same buffers.

A step is padded to the next bucket with rows of the padding slot, which change no other slot. Without graphs,
and above the largest bucket, the same function runs eagerly.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from antiphon_executor.models.talker.slots import PADDING_SLOT
from antiphon_executor.models.talker.step.frame_end import FrameEnd, FrameInputs, FrameOutputs

LARGEST_BUCKET = 256


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """`replay` computes `outputs` again, in place, from what is in the buffers then."""

    replay: Callable[[], None]
    outputs: FrameOutputs


Capture = Callable[[Callable[[], FrameOutputs]], Captured]


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
        self._by_size: dict[int, Captured] = {}
        self._sizes: list[int] = []

    @property
    def sizes(self) -> list[int]:
        """The captured buckets, ascending."""
        return self._sizes

    @torch.inference_mode()
    def capture(self, rows: int, capture: Capture) -> None:
        """Captures the buckets for steps of up to `rows` requests.

        The largest is first, so that the others reuse its memory. Runs on padding rows: no stream changes.
        """
        self.release()
        self._inputs.slot.fill_(PADDING_SLOT)
        for size in reversed(buckets(rows)):
            self._by_size[size] = capture(partial(self._end, self._inputs.first(size)))
        self._sizes = sorted(self._by_size)

    def release(self) -> None:
        """Drops the graphs and their memory."""
        self._by_size, self._sizes = {}, []

    def run(self, hidden: torch.Tensor) -> FrameOutputs:
        """`hidden`: [n, hidden]. The next run may overwrite the outputs."""
        n = hidden.shape[0]
        index = bisect_left(self._sizes, n)
        if index == len(self._sizes):
            return self._end(self._inputs.around(hidden))
        size = self._sizes[index]
        self._inputs.hidden[:n].copy_(hidden)
        self._inputs.slot[n:size].fill_(PADDING_SLOT)
        captured = self._by_size[size]
        captured.replay()
        return captured.outputs.first(n)


def cuda_capture() -> Capture:
    """CUDA graphs that share memory with each other, and with no others: a step's outputs outlive it."""
    pool = torch.cuda.graph_pool_handle()

    def capture(run: Callable[[], FrameOutputs]) -> Captured:
        # Kernels are compiled and workspaces allocated outside the graph.
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Other threads, which send frames and read sockets, may call CUDA meanwhile.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            outputs = run()
        return Captured(graph.replay, outputs)

    return capture
