"""Dialogues with media, and their encoding as token ids, positions and answers to learn, as in serving.

Questions are sequences of parts, answers are sentences. `Writer.sample` encodes a whole dialogue with the
chat template, `Writer.prompt` one without its last answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedConfig, Qwen2Tokenizer

from antiphon_executor.models.qwen3_5_omni import prompt
from antiphon_executor.models.qwen3_5_omni.prompt import Medium, PromptRules
from antiphon_executor.reference.thinker import Patches


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """`mel`: [mel_bins, frames]. For training alone: `words` in order; `labels` int64 [tokens, 3] if the
    sound is aligned, see `hearing.augmentation`. `samples`: at 16 kHz, for a client to send.
    """

    mel: Tensor
    words: tuple[str, ...] = ()
    labels: NDArray[np.int64] | None = None
    samples: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    patches: Patches
    labels: NDArray[np.int64] | None = None
    """For training alone: the contents of each token's cell, see `seeing.drawing`."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """`frames` at `fps`, without the repetition of an odd last one; its sound, if any."""

    patches: Patches
    frames: int
    fps: float
    sound: Sound | None = None
    labels: NDArray[np.int64] | None = None


Part = str | Sound | Picture | Clip


@dataclass(frozen=True, slots=True)
class Turn:
    question: tuple[Part, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Dialogue:
    """`system`: instructions, may be empty. `kind`: the category in figures."""

    turns: tuple[Turn, ...]
    kind: str
    system: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """`token_ids` int64 [n], `positions` int64 [3, n]; `answers` bool [n]: the tokens to learn."""

    token_ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    answers: NDArray[np.bool_]
    media: tuple[Sound | Picture | Clip, ...]
    kind: str


class Writer:
    """Encodes dialogues for one checkpoint. `thinker`: the configuration of its Thinker."""

    def __init__(self, tokenizer: Qwen2Tokenizer, thinker: PreTrainedConfig) -> None:
        self._tokenizer = tokenizer
        self._merge = int(thinker.vision_config.spatial_merge_size)
        self._rules = PromptRules(thinker, self.encode)
        (self._start,) = self.encode("<|im_start|>")
        (self.end,) = self.encode("<|im_end|>")
        self._opening = self.encode("<|im_start|>assistant\n")

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids)
        return text

    def sample(self, dialogue: Dialogue) -> Sample:
        """The whole dialogue. Every answer and its end token are to be learned."""
        return self._written(dialogue, dialogue.turns[-1].answer + "<|im_end|>\n")

    def prompt(self, dialogue: Dialogue) -> Sample:
        """The dialogue up to the start of the last answer."""
        return self._written(dialogue, "")

    def _written(self, dialogue: Dialogue, last: str) -> Sample:
        text = f"<|im_start|>system\n{dialogue.system}<|im_end|>\n" if dialogue.system else ""
        media: list[Sound | Picture | Clip] = []
        for turn in dialogue.turns:
            text += "<|im_start|>user\n"
            for part in turn.question:
                text += placeholder(part)
                if not isinstance(part, str):
                    media.append(part)
            text += "<|im_end|>\n<|im_start|>assistant\n"
            text += last if turn is dialogue.turns[-1] else f"{turn.answer}<|im_end|>\n"
        expanded = self._rules.expand(self.encode(text), [self._medium(part) for part in media])
        answers = self._answers(expanded.token_ids)
        return Sample(expanded.token_ids, expanded.positions, answers, tuple(media), dialogue.kind)

    def _answers(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool [n]: the assistant's turns after their opening, with their end token."""
        mask = np.zeros(len(ids), np.bool_)
        opening = self._opening
        for start in np.flatnonzero(ids == self._start):
            if ids[start : start + len(opening)].tolist() == opening:
                begin = start + len(opening)
                ends = np.flatnonzero(ids[begin:] == self.end)
                mask[begin : begin + ends[0] + 1 if len(ends) else len(ids)] = True
        return mask

    def _medium(self, part: Sound | Picture | Clip) -> Medium:
        if isinstance(part, Sound):
            return prompt.Sound(part.mel.shape[1])
        _, height, width = part.patches.grid
        grid = (height // self._merge, width // self._merge)
        if isinstance(part, Picture):
            return prompt.Picture(grid)
        heard = part.sound.mel.shape[1] if part.sound else 0
        return prompt.Video(part.frames, part.fps, grid, heard)


def placeholder(part: Part) -> str:
    """A part as the chat template writes it."""
    if isinstance(part, str):
        return part
    if isinstance(part, Sound):
        return "<|audio_start|><|audio_pad|><|audio_end|>"
    return f"<|vision_start|><|{'image' if isinstance(part, Picture) else 'video'}_pad|><|vision_end|>"
