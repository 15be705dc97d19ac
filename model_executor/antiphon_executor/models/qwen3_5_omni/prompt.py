"""Expands a Qwen3.5-Omni prompt: placeholders → media tokens with timestamps, and TM-RoPE positions.

The rules are not public. Assumptions: a timestamp is the absolute time as text; TM-RoPE counts within a run
between two texts, for audio in steps of 160 ms, for vision as transformers' Qwen3.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.audio_geometry import AudioGeometry
from antiphon_executor.interface.media_geometry import patch_count, patch_times_s
from antiphon_executor.models.qwen3_5_omni.tm_rope import TmRope, picture

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

Encode = Callable[[str], Sequence[int]]
"""Tokenizes a text without control tokens."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Of a window of a clip: `first_frame` of the clip, at a multiple of 8 s."""

    mel_frames: int
    first_frame: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """`grid`: (height, width) in tokens."""

    grid: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Video:
    """`grid`: (height, width) of a frame in tokens; `sound_frames`: mel frames of the video's sound.

    `patches`: the temporal patches of a window of the video, from the first up to the last + 1; None: all.
    """

    frames: int
    fps: float
    grid: tuple[int, int]
    sound_frames: int = 0
    patches: tuple[int, int] | None = None


Medium = Sound | Picture | Video


@dataclass(frozen=True, slots=True)
class Expanded:
    """`token_ids` int64 [n]; `positions` int64 [3, n]: time, height, width."""

    token_ids: NDArray[np.int64]
    positions: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Run:
    """Tokens with positions relative to the run's start [3, k], and the distance to the next run."""

    token_ids: list[int]
    offsets: NDArray[np.int64]
    advance: int


class PromptRules:
    """The rules of one checkpoint. `encode` tokenizes timestamps."""

    def __init__(self, thinker: PreTrainedConfig, encode: Encode) -> None:
        self._ids = thinker
        self._encode = encode
        self._sound = AudioGeometry.of(thinker.audio_config)
        self._rope = TmRope(thinker)
        self._temporal = int(thinker.vision_config.temporal_patch_size)
        self._interval_tokens = self._sound.first_token(thinker.audio_config.timestamp_interval_s * 1000)

    def expand(self, token_ids: Iterable[int], media: Iterable[Medium]) -> Expanded:
        """Each placeholder is between its start and end tokens; a video's three tokens are replaced together.

        ValueError if placeholders and media do not match.
        """
        runs = list(self._runs([int(token) for token in token_ids], iter(media)))
        starts = np.cumsum([0] + [run.advance for run in runs[:-1]])
        empty = np.zeros((3, 0), dtype=np.int64)
        placed = [start + run.offsets for start, run in zip(starts, runs, strict=False)]
        ids = np.array([token for run in runs for token in run.token_ids], dtype=np.int64)
        return Expanded(ids, np.concatenate([empty, *placed], axis=1))

    def _runs(self, ids: list[int], media: Iterator[Medium]) -> Iterator[_Run]:
        places = {self._ids.audio_token_id, self._ids.image_token_id, self._ids.video_token_id}
        done = 0
        for index, token in enumerate(ids):
            if token not in places:
                continue
            medium = next(media, None)
            yield from self._checked(token, medium, ids[done:index])
            done = index + 1
            if isinstance(medium, Video):
                if ids[done : done + 1] != [self._ids.vision_end_token_id]:
                    raise ValueError("a video's placeholder must stand between vision start and end")
                done += 1
        if next(media, None) is not None:
            raise ValueError("there are more media than placeholders")
        yield _text(ids[done:])

    def _checked(self, token: int, medium: Medium | None, before: list[int]) -> Iterator[_Run]:
        """The runs of the text before a medium, and of the medium."""
        if token == self._ids.audio_token_id and isinstance(medium, Sound):
            yield _text(before)
            yield from self._sound_runs(medium)
        elif token == self._ids.image_token_id and isinstance(medium, Picture):
            yield _text(before)
            yield self._picture_run(token, medium.grid)
        elif token == self._ids.video_token_id and isinstance(medium, Video):
            if before[-1:] != [self._ids.vision_start_token_id]:
                raise ValueError("a video's placeholder must stand between vision start and end")
            yield _text(before[:-1])
            yield from self._video_runs(medium)
        else:
            raise ValueError(f"placeholder {token} does not stand for {medium}")

    def window(self, medium: Medium) -> list[int]:
        """The tokens of a medium or window that replace its placeholder, and a video's marks around it."""
        if isinstance(medium, Sound):
            runs = self._sound_runs(medium)
        elif isinstance(medium, Video):
            runs = self._video_runs(medium)
        else:
            runs = iter([self._picture_run(self._ids.image_token_id, medium.grid)])
        return [token for run in runs for token in run.token_ids]

    def heard(self, video: Video) -> tuple[int, int]:
        """The tokens of a video's sound that belong to its window, from the first up to the last + 1."""
        total = patch_count(video.frames, self._temporal)
        first, last = video.patches or (0, total)
        return self._heard_before(video, first, total), self._heard_before(video, last, total)

    def _heard_before(self, video: Video, patch: int, total: int) -> int:
        """Sound tokens that precede a patch: those that begin before it."""
        sound = self._sound.tokens(video.sound_frames)
        if patch in (0, total):
            return sound if patch else 0
        return min(self._sound.first_token(patch * self._temporal / video.fps * 1000), sound)

    def _sound_runs(self, sound: Sound) -> Iterator[_Run]:
        """A timestamp precedes every interval except the first, so a short clip has none.

        A run of a window that begins within an interval continues that of the window before (`media_spans`).
        """
        first, interval = self._sound.tokens(sound.first_frame), self._interval_tokens
        last = first + self._sound.tokens(sound.mel_frames)
        for start, end in pairwise(
            [first, *range(first - first % interval + interval, last, interval), last]
        ):
            if start and start % interval == 0:
                yield self._timestamp(self._sound.start_ms(start) / 1000)
            yield self._sound_run(start, end)

    def _video_runs(self, video: Video) -> Iterator[_Run]:
        """For each temporal patch: its timestamp, its tokens, and the sound that begins before the next."""
        ids = self._ids
        times = patch_times_s(video.frames, video.fps, self._temporal)
        heard, _ = self.heard(video)
        for patch in range(*(video.patches or (0, len(times)))):
            yield self._timestamp(times[patch])
            yield _text([ids.vision_start_token_id])
            yield self._picture_run(ids.video_token_id, video.grid)
            yield _text([ids.vision_end_token_id])
            end = self._heard_before(video, patch + 1, len(times))
            if heard < end:
                yield _text([ids.audio_start_token_id])
                yield self._sound_run(heard, end)
                yield _text([ids.audio_end_token_id])
                heard = end

    def _sound_run(self, start: int, end: int) -> _Run:
        """Tokens `start` to `end` of a clip."""
        offsets = self._rope.sound(start, end)
        return _Run([self._ids.audio_token_id] * (end - start), offsets, int(offsets.max()) + 1)

    def _picture_run(self, token: int, grid: tuple[int, int]) -> _Run:
        offsets = picture(grid)
        return _Run([token] * offsets.shape[1], offsets, max(grid))

    def _timestamp(self, time_s: float) -> _Run:
        return _text(list(self._encode(f"<{time_s:.1f} seconds>")))


def _text(token_ids: list[int]) -> _Run:
    return _Run(token_ids, np.tile(np.arange(len(token_ids)), (3, 1)), len(token_ids))
