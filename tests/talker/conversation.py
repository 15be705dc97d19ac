"""Conversations as the Thinker sees them: media expanded, positions by transformers' own `get_rope_index`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeForConditionalGeneration

from antiphon_executor.models.qwen3_omni.talker_prompt import TalkerPrompt, talker_prompt
from antiphon_executor.models.qwen3_omni.vocabulary import TalkerVocabulary
from tests.talker import tiny_omni as tiny
from tests.talker.tiny_omni import IDS

VOCABULARY = TalkerVocabulary(
    codec=tiny.CODEC_VOCAB, text=tiny.TEXT_VOCAB, speakers=2, slots=5, media_rows=4_096
)
SLOT, SPEAKER = 3, 1
HEADER = [tiny.IM_START, tiny.ASSISTANT, tiny.NEWLINE]


@cache
def model() -> Qwen3OmniMoeForConditionalGeneration:
    return tiny.tiny_omni()


@dataclass
class Conversation:
    """A Thinker prompt under construction, with what transformers wants to know of its media."""

    ids: list[int] = field(default_factory=list)
    mel_frames: list[int] = field(default_factory=list)
    image_grids: list[list[int]] = field(default_factory=list)
    video_grids: list[list[int]] = field(default_factory=list)
    seconds_a_grid: list[float] = field(default_factory=list)
    sound_in_video: bool = False

    def turn(self, role: int, *parts: Callable[[Conversation], None]) -> Conversation:
        self.ids += [tiny.IM_START, role, tiny.NEWLINE]
        for part in parts:
            part(self)
        self.ids += [tiny.IM_END, tiny.NEWLINE]
        return self

    def asked(self) -> list[int]:
        return self.ids + HEADER

    def media(self) -> dict[str, torch.Tensor]:
        """As `generate` hands them to both models."""
        given = {
            "image_grid_thw": self.image_grids,
            "video_grid_thw": self.video_grids,
            "video_second_per_grid": self.seconds_a_grid,
            "audio_feature_lengths": self.mel_frames,
        }
        return {name: torch.tensor(value) for name, value in given.items() if value}


Part = Callable[[Conversation], None]


def words(count: int) -> Part:
    return lambda c: c.ids.extend(tiny.FIRST_WORD + i for i in range(count))


def audio(mel_frames: int) -> Part:
    def add(c: Conversation) -> None:
        c.mel_frames.append(mel_frames)
        c.ids += [tiny.AUDIO_START, *[tiny.AUDIO] * audio_tokens(mel_frames), tiny.AUDIO_END]

    return add


def image(height: int, width: int) -> Part:
    def add(c: Conversation) -> None:
        c.image_grids.append([1, 2 * height, 2 * width])
        c.ids += [tiny.VISION_START, *[tiny.IMAGE] * (height * width), tiny.VISION_END]

    return add


def video(grids: int, height: int, width: int, seconds: float) -> Part:
    def add(c: Conversation) -> None:
        c.video_grids.append([grids, 2 * height, 2 * width])
        c.seconds_a_grid.append(seconds)
        c.ids += [tiny.VISION_START, *[tiny.VIDEO] * (grids * height * width), tiny.VISION_END]

    return add


def sounding(grids: int, height: int, width: int, seconds: float, mel_frames: int) -> Part:
    """A video with its sound: tokens of both kinds by time, as the processor writes them."""

    def add(c: Conversation) -> None:
        c.video_grids.append([grids, 2 * height, 2 * width])
        c.seconds_a_grid.append(seconds)
        c.mel_frames.append(mel_frames)
        c.sound_in_video = True
        seen = [(t * seconds * 13, 0, tiny.VIDEO) for t in range(grids) for _ in range(height * width)]
        heard = [(float(t), 1, tiny.AUDIO) for t in range(audio_tokens(mel_frames))]
        inner = [token for _, _, token in sorted(seen + heard)]
        c.ids += [tiny.VISION_START, tiny.AUDIO_START, *inner, tiny.AUDIO_END, tiny.VISION_END]

    return add


def audio_tokens(mel_frames: int) -> int:
    rest = (mel_frames % 100 - 1) // 2 + 1
    return ((rest - 1) // 2 + 1 - 1) // 2 + 1 + mel_frames // 100 * 13


def thinker_positions(c: Conversation) -> np.ndarray:
    ids = torch.tensor([c.asked()])
    media = c.media()
    found, _ = model().thinker.get_rope_index(
        ids,
        media.get("image_grid_thw"),
        media.get("video_grid_thw"),
        torch.ones_like(ids),
        c.sound_in_video,
        media.get("audio_feature_lengths"),
        media.get("video_second_per_grid"),
    )
    return found[:, 0].double().numpy()


def prompt_of(c: Conversation, speaker: int = SPEAKER) -> TalkerPrompt:
    ids = np.array(c.asked(), np.int32)
    return talker_prompt(ids, thinker_positions(c), IDS, VOCABULARY, slot=SLOT, speaker=speaker)
