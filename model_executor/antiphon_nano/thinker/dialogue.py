"""A dialogue with its media → token ids, positions and answers to learn, by the rules that serving uses.

In: turns whose questions are parts in their order, and whose answers are sentences. Out: `Sample`s: the chat
template's ids, media expanded by `PromptRules`; `prompt` gives the same with the last answer left out.
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
    """`mel`: [mel_bins, frames]. For training alone: `words`, said in it in their order; where it is aligned,
    `labels` int64 [tokens, 3], as `hearing.listening` counts them. `samples`: at 16 kHz, for who sends them.
    """

    mel: Tensor
    words: tuple[str, ...] = ()
    labels: NDArray[np.int64] | None = None
    samples: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    patches: Patches
    labels: NDArray[np.int64] | None = None
    """For training alone: what is in each token's cell, as `pictures.drawing` counts it."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """`frames` at `fps` before the last is repeated; its sound, where it has one."""

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
    """`system`: instructions, or nothing. `kind`: what figures are kept by."""

    turns: tuple[Turn, ...]
    kind: str
    system: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """`token_ids` int64 [n], `positions` int64 [3, n]; `answers` bool [n]: the tokens to be learned."""

    token_ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    answers: NDArray[np.bool_]
    media: tuple[Sound | Picture | Clip, ...]
    kind: str


class Writer:
    """Writes dialogues for one checkpoint. `thinker`: its Thinker's configuration."""

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
        """The whole dialogue; every answer and its end are to be learned."""
        return self._written(dialogue, dialogue.turns[-1].answer + "<|im_end|>\n")

    def prompt(self, dialogue: Dialogue) -> Sample:
        """Up to where the last answer begins."""
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
        """Between the opening of the assistant's turns and their end, which is to be learned too."""
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
    """As the chat template writes a part."""
    if isinstance(part, str):
        return part
    if isinstance(part, Sound):
        return "<|audio_start|><|audio_pad|><|audio_end|>"
    return f"<|vision_start|><|{'image' if isinstance(part, Picture) else 'video'}_pad|><|vision_end|>"
