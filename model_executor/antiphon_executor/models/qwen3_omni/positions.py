"""TM-RoPE positions of a Thinker prompt: time, height and width of every token.

In: the prompt's length and its media spans. Out: float positions [3, num_tokens], as `get_rope_index` of
transformers' `Qwen3OmniMoePreTrainedModelForConditionalGeneration` gives them. Pure: no torch, no vLLM.
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

    `grid`: (time, height, width) in tokens. `time_step`: positions from one grid to the next in time.
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
    """A video merged with its sound by time, from prompt index `start`, without what encloses it."""

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
    """Tokens of a clip of `mel_frames`: 13 a full second of 100, and what three halvings leave of the rest.

    As `_get_feat_extract_output_lengths` of transformers' `qwen3_omni_moe`; `window` is its `n_window`.
    """
    seconds, rest = divmod(mel_frames, 2 * window)
    for _ in range(3):
        rest = (rest + 1) // 2
    return 13 * seconds + rest


def merge_order(grid: tuple[int, int, int], time_step: float, sound_tokens: int) -> NDArray[np.intp]:
    """How a video's tokens and its sound's are merged: indices into (video tokens, then sound tokens).

    By time; a video token goes before a sound token of the same time. int [video tokens + sound_tokens].
    """
    video = np.repeat(np.arange(grid[0]) * time_step, grid[1] * grid[2])
    return np.argsort(np.concatenate((video, np.arange(sound_tokens))), kind="stable")


def prompt_positions(num_tokens: int, spans: Iterable[MediaSpan]) -> Positions:
    """Positions [3, num_tokens]. A text token stands one after the largest position before it.

    Raises ValueError where a span reaches beyond the prompt.
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
