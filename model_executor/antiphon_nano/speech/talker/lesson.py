"""A padded batch of the Talker's training: utterances as streams in ARIA's order, with all targets.

Only index tensors: nothing is embedded here. The order of rows is the served one, `aria.stream_order`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from antiphon_executor.models.aria.chunk_rule import Kind, stream_order

NOTHING = -1


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """One utterance. `prompt`: text ids, with `codec_bos` and media as in `Batch`.

    `opening`, `closing`: text ids before and after the voice's reference frames `voice` [n, groups]; `text`:
    token ids, tts_eos last; `starts`: the frame in which each token but tts_eos begins; `codes`: [frames,
    groups]; `phonemes`: [frames].
    """

    opening: tuple[int, ...]
    voice: NDArray[np.int64]
    closing: tuple[int, ...]
    text: tuple[int, ...]
    starts: tuple[int, ...]
    codes: NDArray[np.int64]
    phonemes: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Streams [n, rows]. `NOTHING` marks a missing value.

    Input: `tokens`: text id of a row; `frames` [n, rows, groups]: its codes; `begins`: the row is codec_bos.
    Targets, of the frame that each row predicts: `codes` [n, rows, groups], `ends` (EOS), `phonemes`, and
    `spoken` [n, rows, 2]: the rows of the token spoken in it and of the next one, if these are in the stream
    by then.
    """

    tokens: Tensor
    frames: Tensor
    begins: Tensor
    codes: Tensor
    ends: Tensor
    phonemes: Tensor
    spoken: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return Batch(**{column.name: getattr(self, column.name).to(device) for column in fields(self)})


def batch_of(lessons: Sequence[Lesson], text_size: int = 4, frame_size: int = 4, tail: int = 1) -> Batch:
    """`tail`: frames of silence at the end of an utterance, in which tts_eos counts as spoken."""
    streams = [_Stream(lesson, text_size, frame_size, tail) for lesson in lessons]
    rows = max(len(stream.tokens) for stream in streams)
    names = [column.name for column in fields(Batch)]
    return Batch(**{n: torch.stack([_filled(getattr(s, n), rows) for s in streams]) for n in names})


def _filled(values: NDArray, rows: int) -> Tensor:
    whole = np.full((rows, *values.shape[1:]), False if values.dtype == bool else NOTHING, values.dtype)
    whole[: len(values)] = values
    return torch.from_numpy(whole)


class _Stream:
    """The rows of one lesson, as numpy columns named as in `Batch`."""

    def __init__(self, lesson: Lesson, text_size: int, frame_size: int, tail: int) -> None:
        count, groups = lesson.codes.shape
        order = stream_order(len(lesson.text), count, text_size, frame_size)
        before, reference = len(lesson.opening), len(lesson.voice)
        prompt = before + reference + len(lesson.closing) + 1
        rows = prompt + len(order)
        is_frame = np.array([row.kind is Kind.FRAME for row in order])
        at = prompt + np.arange(len(order))
        self.tokens = np.full(rows, NOTHING)
        self.tokens[:before] = lesson.opening
        self.tokens[before + reference : prompt - 1] = lesson.closing
        self.tokens[at[~is_frame]] = np.array(lesson.text)
        self.frames = np.full((rows, groups), NOTHING)
        self.frames[before : before + reference] = lesson.voice
        self.frames[at[is_frame]] = lesson.codes
        self.begins = np.arange(rows) == prompt - 1
        self._targets(lesson, at[is_frame] - 1, at[~is_frame], rows, tail)

    def _targets(self, lesson: Lesson, predicting: NDArray, entered: NDArray, rows: int, tail: int) -> None:
        count, groups = lesson.codes.shape
        self.codes = np.full((rows, groups), NOTHING)
        self.codes[predicting] = lesson.codes
        self.phonemes = np.full(rows, NOTHING)
        self.phonemes[predicting] = lesson.phonemes
        self.ends = np.arange(rows) == rows - 1
        last = len(lesson.text) - 1
        now = np.searchsorted(np.array(lesson.starts), np.arange(count + 1), side="right") - 1
        now = np.clip(now, 0, last)
        now[count - tail :] = last
        self.spoken = np.full((rows, 2), NOTHING)
        asking = np.append(predicting, rows - 1)
        for column in range(2):
            places = entered[np.minimum(now + column, last)]
            known = places <= asking
            self.spoken[asking[known], column] = places[known]
