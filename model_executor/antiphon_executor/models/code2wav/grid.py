"""Sample arithmetic of the vocoder: which samples of the waveform belong to which frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod


@dataclass(frozen=True, slots=True)
class SampleGrid:
    """`frame_samples`: samples per frame. `lookahead_samples`: how far the decoder looks ahead.

    The decoder outputs `frame_samples` for every frame. The first `lookahead_samples` of a stream lie before
    its beginning and are dropped, so n frames are `n * frame_samples - lookahead_samples` samples of audio.
    """

    frame_samples: int
    lookahead_samples: int

    def samples(self, frames: int) -> int:
        """Valid samples of a stream's first `frames` frames."""
        return max(0, frames * self.frame_samples - self.lookahead_samples)

    def valid(self, frames_before: int) -> slice:
        """The valid part of one `forward`'s output for a stream that had `frames_before` frames."""
        return slice(max(0, self.lookahead_samples - frames_before * self.frame_samples), None)


def lead_in_steps(rates: Sequence[int]) -> int:
    """Output steps before the stream's beginning, after transposed convolutions of these rates in turn.

    Each has a kernel of two strides, trimmed by one stride, so its first valid output needs one more input.
    """
    steps = 0
    for rate in rates:
        steps = (steps + 1) * rate
    return steps


def sample_grid(upsampling_ratios: Sequence[int], upsample_rates: Sequence[int]) -> SampleGrid:
    """The grid of a `Qwen3OmniMoeCode2WavConfig`: 1,920 and 555 samples for the released model."""
    return SampleGrid(prod(upsampling_ratios) * prod(upsample_rates), lead_in_steps(upsample_rates))
