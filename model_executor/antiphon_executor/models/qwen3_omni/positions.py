"""TM-RoPE positions of a Qwen3-Omni prompt: time, height and width of every token, from its media spans.

Reference: `get_rope_index` of transformers' `Qwen3OmniMoePreTrainedModelForConditionalGeneration`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AudioSpan:
    """`tokens` audio tokens from prompt index `start`."""

    start: int
    tokens: int

    @property
    def length(self) -> int:
        return self.tokens

    def positions(self) -> Positions:
        return np.broadcast_to(np.arange(self.tokens, dtype=np.float64), (3, self.tokens))


@dataclass(frozen=True, slots=True)
class VisionSpan:
    """A picture or a silent video from prompt index `start`.

    `grid`: (time, height, width) in tokens. `time_step`: positions between two grids in time.
    """

    start: int
    grid: tuple[int, int, int]
    time_step: float

    @property
    def length(self) -> int:
        return self.grid[0] * self.grid[1] * self.grid[2]

    def positions(self) -> Positions:
        positions = np.indices(self.grid, dtype=np.float64).reshape(3, -1)
        positions[0] *= self.time_step
        return positions


@dataclass(frozen=True, slots=True)
class SoundVideoSpan:
    """A video merged with its sound by time, from prompt index `start`, without the enclosing tokens."""

    start: int
    grid: tuple[int, int, int]
    time_step: float
    sound_tokens: int

    @property
    def length(self) -> int:
        return self.grid[0] * self.grid[1] * self.grid[2] + self.sound_tokens

    def positions(self) -> Positions:
        video = VisionSpan(0, self.grid, self.time_step).positions()
        sound = AudioSpan(0, self.sound_tokens).positions()
        order = merge_order(self.grid, self.time_step, self.sound_tokens)
        return np.concatenate((video, sound), axis=1)[:, order]


MediaSpan = AudioSpan | VisionSpan | SoundVideoSpan


def audio_tokens(mel_frames: int, window: int = 50) -> int:
    """Audio tokens of a clip: 13 per full second (100 mel frames), and the rest halved three times.

    Reference: `_get_feat_extract_output_lengths` of transformers' `qwen3_omni_moe`; `window`: its `n_window`.
    """
    seconds, rest = divmod(mel_frames, 2 * window)
    for _ in range(3):
        rest = (rest + 1) // 2
    return 13 * seconds + rest


def merge_order(grid: tuple[int, int, int], time_step: float, sound_tokens: int) -> NDArray[np.intp]:
    """The order of a video's merged tokens: indices into (video tokens, then sound tokens), by time.

    A video token precedes a sound token of the same time. int [video tokens + sound_tokens].
    """
    video = np.repeat(np.arange(grid[0]) * time_step, grid[1] * grid[2])
    return np.argsort(np.concatenate((video, np.arange(sound_tokens))), kind="stable")


def prompt_positions(num_tokens: int, spans: Iterable[MediaSpan]) -> Positions:
    """Positions [3, num_tokens]. A text token's is one more than the largest position before it.

    ValueError if spans overlap or reach beyond the prompt.
    """
    positions = np.empty((3, num_tokens), dtype=np.float64)
    index, following = 0, 0.0
    for span in sorted(spans, key=lambda span: span.start):
        if span.start < index or span.start + span.length > num_tokens:
            raise ValueError(f"media at {span.start} overlaps other media or the end of the prompt")
        text = span.start - index
        positions[:, index : span.start] = following + np.arange(text)
        media = span.positions() + (following + text)
        index = span.start + span.length
        positions[:, span.start : index] = media
        following = media.max() + 1
    positions[:, index:] = following + np.arange(num_tokens - index)
    return positions
