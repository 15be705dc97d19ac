"""TM-RoPE positions of a Qwen3-Omni prompt: time, height and width of every token, from its media spans.

Reference: `get_rope_index` of transformers' `Qwen3OmniMoePreTrainedModelForConditionalGeneration`.
"""

from __future__ import annotations

import math
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
    def continues(self) -> bool:
        """Whether positions go on from the window before. Those of audio do so anyway."""
        return False

    @property
    def length(self) -> int:
        return self.tokens

    def positions(self) -> Positions:
        return np.broadcast_to(np.arange(self.tokens, dtype=np.float64), (3, self.tokens))


@dataclass(frozen=True, slots=True)
class VisionSpan:
    """A picture or a silent video from prompt index `start`.

    `grid`: (time, height, width) in tokens. `time_step`: positions between two grids in time. `first`: the
    first grid in time of a window of a video; its positions count from where the video begins.
    """

    start: int
    grid: tuple[int, int, int]
    time_step: float
    first: int = 0

    @property
    def continues(self) -> bool:
        return self.first > 0

    @property
    def length(self) -> int:
        return self.grid[0] * self.grid[1] * self.grid[2]

    def positions(self) -> Positions:
        positions = np.indices(self.grid, dtype=np.float64).reshape(3, -1)
        positions[0] += self.first
        positions[0] *= self.time_step
        return positions


@dataclass(frozen=True, slots=True)
class SoundVideoSpan:
    """A video merged with its sound by time, from prompt index `start`, without the enclosing tokens.

    `first`, `first_sound`: the first grid in time and the first sound token of a window.
    """

    start: int
    grid: tuple[int, int, int]
    time_step: float
    sound_tokens: int
    first: int = 0
    first_sound: int = 0

    @property
    def continues(self) -> bool:
        return self.first > 0

    @property
    def length(self) -> int:
        return self.grid[0] * self.grid[1] * self.grid[2] + self.sound_tokens

    def positions(self) -> Positions:
        video = VisionSpan(0, self.grid, self.time_step, self.first).positions()
        sound = AudioSpan(0, self.sound_tokens).positions() + self.first_sound
        order = merge_order(self.grid, self.time_step, self.sound_tokens, self.first, self.first_sound)
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


def merge_order(
    grid: tuple[int, int, int], time_step: float, sound_tokens: int, first: int = 0, first_sound: int = 0
) -> NDArray[np.intp]:
    """The order of a video's merged tokens: indices into (video tokens, then sound tokens), by time.

    A video token precedes a sound token of the same time. int [video tokens + sound_tokens]. `first`,
    `first_sound`: as in `SoundVideoSpan`.
    """
    video = np.repeat((np.arange(grid[0]) + first) * time_step, grid[1] * grid[2])
    return np.argsort(np.concatenate((video, np.arange(sound_tokens) + first_sound)), kind="stable")


def sound_before(grid_time: int, time_step: float, sound_tokens: int) -> int:
    """The sound tokens of a video that precede its tokens of `grid_time`."""
    return min(math.ceil(grid_time * time_step), sound_tokens)


def prompt_positions(num_tokens: int, spans: Iterable[MediaSpan]) -> Positions:
    """Positions [3, num_tokens]. A text token's is one more than the largest position before it.

    A window of a video after the first one continues the window before it.

    ValueError if spans overlap or reach beyond the prompt.
    """
    positions = np.empty((3, num_tokens), dtype=np.float64)
    index, following, base = 0, 0.0, 0.0
    for span in sorted(spans, key=lambda span: span.start):
        if span.start < index or span.start + span.length > num_tokens:
            raise ValueError(f"media at {span.start} overlaps other media or the end of the prompt")
        text = span.start - index
        positions[:, index : span.start] = following + np.arange(text)
        if not span.continues:
            base = following + text
        media = span.positions() + base
        index = span.start + span.length
        positions[:, span.start : index] = media
        following = max(following + text, media.max() + 1)
    positions[:, index:] = following + np.arange(num_tokens - index)
    return positions
