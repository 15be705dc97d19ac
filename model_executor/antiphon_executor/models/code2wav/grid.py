"""Sample arithmetic of the vocoder: which sample of the waveform belongs to which frame.

In: the vocoder's upsampling rates. Out: sample counts and slices. Knows no tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod


@dataclass(frozen=True, slots=True)
class SampleGrid:
    """`frame_samples`: samples a frame. `lookahead_samples`: how far the decoder looks ahead of what it
    gives out.

    The decoder gives `frame_samples` for every frame; the first `lookahead_samples` of a stream lie before
    its beginning and are dropped, so n frames are `n * frame_samples - lookahead_samples` samples of sound.
    """

    frame_samples: int
    lookahead_samples: int

    def samples(self, frames: int) -> int:
        """Valid samples of a stream's first `frames` frames."""
        return max(0, frames * self.frame_samples - self.lookahead_samples)

    def valid(self, frames_before: int) -> slice:
        """The valid part of what one `forward` gives for a stream that had `frames_before` frames already."""
        return slice(max(0, self.lookahead_samples - frames_before * self.frame_samples), None)


def late_steps(rates: Sequence[int]) -> int:
    """Steps before the stream's beginning, after transposed convolutions of these rates in turn.

    Each has a kernel of two strides and is trimmed by one stride, so its first valid output needs one more
    input.
    """
    late = 0
    for rate in rates:
        late = (late + 1) * rate
    return late


def sample_grid(upsampling_ratios: Sequence[int], upsample_rates: Sequence[int]) -> SampleGrid:
    """The grid of a `Qwen3OmniMoeCode2WavConfig`: 1,920 and 555 samples for the released model."""
    return SampleGrid(prod(upsampling_ratios) * prod(upsample_rates), late_steps(upsample_rates))
