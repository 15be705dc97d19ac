"""TM-RoPE positions of an expanded Qwen3.5-Omni prompt: time, height and width of every token.

They equal the positions that `prompt.PromptRules.expand` gives. Needs neither tokenizer nor features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.audio_geometry import AudioGeometry

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MediaSpan:
    """A medium's tokens from prompt index `start`, including the timestamps and marks between them.

    `grid`: (height, width) of a picture or frame in tokens; (0, 0) for audio. `heard`: the first sound token
    of a window, counted in its clip.
    """

    start: int
    length: int
    grid: tuple[int, int] = (0, 0)
    heard: int = 0


class TmRope:
    """The position rules of one checkpoint. `thinker`: its Thinker's configuration."""

    def __init__(self, thinker: PreTrainedConfig) -> None:
        self._audio: int = thinker.audio_token_id
        self._vision = (thinker.image_token_id, thinker.video_token_id)
        self._sound = AudioGeometry.of(thinker.audio_config)
        self._per_second: float = thinker.position_id_per_seconds

    def positions(self, token_ids: NDArray[np.integer], spans: Iterable[MediaSpan]) -> Positions:
        """int64 [3, n]. Tokens outside of `spans` are text, whatever their id. ValueError if spans overlap.

        A text, and a run of a medium between two texts, begins one after the largest position before it.
        """
        positions = np.empty((3, len(token_ids)), dtype=np.int64)
        done, following = 0, 0
        for start, offsets in self._runs(token_ids, spans):
            if start < done or start + offsets.shape[1] > len(token_ids):
                raise ValueError(f"media at {start} overlap others or the end of the prompt")
            positions[:, done:start] = np.arange(following, following + start - done)
            following += start - done
            done = start + offsets.shape[1]
            positions[:, start:done] = offsets + following
            following += int(offsets.max()) + 1
        positions[:, done:] = np.arange(following, following + len(token_ids) - done)
        return positions

    def _runs(
        self, token_ids: NDArray[np.integer], spans: Iterable[MediaSpan]
    ) -> Iterator[tuple[int, Positions]]:
        """Start and offsets [3, k] of each run of sound tokens, or of the tokens of one frame."""
        for span in sorted(spans, key=lambda span: span.start):
            tokens = np.asarray(token_ids[span.start : span.start + span.length])
            kinds = np.where(tokens == self._audio, 1, np.where(np.isin(tokens, self._vision), 2, 0))
            edges = np.flatnonzero(np.diff(kinds, prepend=0, append=0))
            heard = span.heard
            for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
                if kinds[begin] == 1:
                    yield span.start + begin, self.sound(heard, heard + end - begin)
                    heard += end - begin
                elif kinds[begin] == 2:
                    yield span.start + begin, picture(span.grid)

    def sound(self, first: int, last: int) -> Positions:
        """Offsets of a clip's tokens `first` to `last`; tokens that begin in the same 160 ms share one."""
        starts = np.array([self._sound.start_ms(token) for token in range(first, last)], dtype=np.int64)
        steps = ((starts - starts[0]) * (self._per_second / 1000)).astype(np.int64)
        return np.tile(steps, (3, 1))


def picture(grid: tuple[int, int]) -> Positions:
    """Offsets of a picture's tokens, row by row: [3, height * width]."""
    return np.indices((1, *grid), dtype=np.int64).reshape(3, -1)
