"""The vocoder's state by slot: convolution tails, a key/value ring and a frame count for each stream.

A step gathers it once and writes it back once. Slot 0 is for padding rows. Device data is never read on the
host, so a CUDA graph can capture a step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

PADDING_SLOT = 0


class TailShape(NamedTuple):
    """The past inputs that a convolution needs."""

    steps: int
    channels: int


@dataclass(slots=True)
class TailLayout:
    """The place of each convolution's tail in a slot's row. Layers add their tails when they are built."""

    shapes: list[TailShape] = field(default_factory=list)

    def add(self, steps: int, channels: int) -> int:
        """Returns the index of the layer's tail."""
        self.shapes.append(TailShape(steps, channels))
        return len(self.shapes) - 1

    @property
    def widths(self) -> list[int]:
        return [shape.steps * shape.channels for shape in self.shapes]


class RingShape(NamedTuple):
    """Sizes of the keys and values of the last `frames` frames."""

    frames: int
    layers: int
    heads: int
    head_dim: int


@dataclass(slots=True)
class VocoderStep:
    """The state of one forward pass over `batch` streams and `frames` frames.

    `tails`: [batch, steps, channels] by layer, replaced as the layers run. `started`: [batch, 1, 1], 0 for a
    stream in its first frame, else 1. `position`: int64 [batch], frames before this step. `past`: [batch,
    ring frames, layers, 2 (key, value), heads, head_dim]; `fresh`: by layer, [batch, frames, 2, heads,
    head_dim] of this step.
    """

    tails: list[Tensor]
    started: Tensor
    position: Tensor
    past: Tensor
    fresh: list[Tensor] = field(default_factory=list)

    def extend(self, index: int, x: Tensor) -> Tensor:
        """The window `[tail | x]` of a layer with input `x` [batch, steps, channels]."""
        return torch.cat([self.tails[index], x], dim=1)

    def keep(self, index: int, window: Tensor) -> None:
        """Stores the end of a layer's window as its next tail."""
        self.tails[index] = window[:, window.shape[1] - self.tails[index].shape[1] :]


class VocoderPool(nn.Module):
    """The state of `slots` slots. A stream that has not started has zeros."""

    def __init__(self, slots: int, layout: TailLayout, ring: RingShape) -> None:
        super().__init__()
        self.layout, self.ring = layout, ring
        self.tails = nn.Buffer(torch.zeros(slots, sum(layout.widths)), persistent=False)
        self.rings = nn.Buffer(
            torch.zeros(slots, ring.frames, ring.layers, 2, ring.heads, ring.head_dim), persistent=False
        )
        self.positions = nn.Buffer(torch.zeros(slots, dtype=torch.int64), persistent=False)

    @property
    def bytes_per_slot(self) -> int:
        pools = (self.tails, self.rings, self.positions)
        return sum(pool[0].numel() * pool.element_size() for pool in pools)

    def reset(self, slots: Tensor) -> None:
        """Starts new streams in these slots (int64 [count])."""
        for pool in (self.tails, self.rings, self.positions):
            pool.index_fill_(0, slots, 0)

    def read(self, slots: Tensor) -> VocoderStep:
        """The state of the streams in `slots` (int64 [batch])."""
        position = self.positions.index_select(0, slots)
        rows = self.tails.index_select(0, slots).split(self.layout.widths, dim=1)
        tails = [row.unflatten(1, shape) for row, shape in zip(rows, self.layout.shapes, strict=True)]
        started = (position > 0).to(self.tails.dtype).view(-1, 1, 1)
        return VocoderStep(tails, started, position, self.rings.index_select(0, slots))

    def write(self, slots: Tensor, step: VocoderStep) -> None:
        """Writes the state after `step`. Slots are distinct, except for the padding slot."""
        self.tails.index_copy_(0, slots, torch.cat([tail.flatten(1) for tail in step.tails], dim=1))
        fresh = torch.stack(step.fresh, dim=2)
        frames, kept = fresh.shape[1], min(fresh.shape[1], self.ring.frames)
        newest = torch.arange(frames - kept, frames, device=slots.device)
        places = (step.position[:, None] + newest) % self.ring.frames + slots[:, None] * self.ring.frames
        self.rings.flatten(0, 1).index_copy_(0, places.flatten(), fresh[:, frames - kept :].flatten(0, 1))
        self.positions.index_copy_(0, slots, step.position + frames)
