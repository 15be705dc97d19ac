"""The plain reference's Qwen3.5-Omni Thinker, in float32, on a given answer.

One pass over prompt and answer: if every token is the reference's choice after the tokens before it, the
answer is the reference's greedy answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.models.qwen3_omni_moe import Qwen3OmniMoeProcessor

from antiphon_executor.interface.media import AudioClip, RgbImage, VideoClip
from antiphon_executor.models.qwen3_5_omni import prompt as rules
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.reference.mel import log_mel
from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration
from antiphon_executor.reference.thinker import Patches, ThinkerPrompt
from tests.parity.thinker.conversations import Conversation


@dataclass(frozen=True)
class Truth:
    """`choice`, `margin`: of each step, the best token and its lead over the next best in log-probability.

    `logprobs`: float32 [steps, vocab]. `accepted`: float32 [prompt, hidden], the accept layer's.
    """

    prompt_token_ids: list[int]
    choice: list[int]
    margin: NDArray[np.float32]
    logprobs: NDArray[np.float32]
    accepted: NDArray[np.float32]


class Qwen3_5Oracle:
    def __init__(self, checkpoint: Path) -> None:
        model = Qwen3_5OmniMoeForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
        self.config = model.config
        self.ids = PromptIds.of(model.config)
        self.thinker = model.thinker.eval()
        self.processor = Qwen3OmniMoeProcessor.from_pretrained(checkpoint)
        self.rules = rules.PromptRules(self.config.thinker_config, self.encode)
        # Several tests ask for the same.
        self._known: Callable[[Conversation, tuple[int, ...]], Truth] = cache(self._follow)

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.processor.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def follow(self, conversation: Conversation, answer: list[int]) -> Truth:
        """What the reference would have said at each step of `answer`, all but its last token being given."""
        return self._known(conversation, tuple(answer))

    def _follow(self, conversation: Conversation, answer: tuple[int, ...]) -> Truth:
        prompt = self.prompt(conversation)
        length, given = len(prompt.token_ids), torch.tensor(answer[:-1], dtype=torch.long)
        following = int(prompt.positions.max()) + 1
        places = torch.arange(following, following + len(given)).expand(3, -1)
        accepted = self.config.talker_config.accept_hidden_layer
        with torch.no_grad():
            rows = torch.cat((self.thinker.embedded(prompt), self.thinker.model.embed_tokens(given)))
            output = self.thinker.run(rows, torch.cat((prompt.positions, places), dim=1))
        logprobs = output.logits[length - 1 :].log_softmax(-1)
        best = logprobs.topk(2, dim=-1)
        return Truth(
            prompt_token_ids=prompt.token_ids.tolist(),
            choice=best.indices[:, 0].tolist(),
            margin=(best.values[:, 0] - best.values[:, 1]).numpy(),
            logprobs=logprobs.numpy(),
            accepted=output.layers[accepted][:length].numpy(),
        )

    def prompt(self, conversation: Conversation) -> ThinkerPrompt:
        template, media = self.encode(conversation.prompt), list(_in_order(conversation))
        shown = [self._patches(each) for each in media]
        expanded = self.rules.expand(
            template, [self._medium(each, seen) for each, seen in zip(media, shown, strict=True)]
        )
        return ThinkerPrompt(
            torch.as_tensor(expanded.token_ids),
            torch.as_tensor(expanded.positions),
            sounds=tuple(log_mel(clip.samples) for each in media if (clip := _heard(each))),
            pictures=_of(RgbImage, media, shown),
            videos=_of(VideoClip, media, shown),
        )

    def _patches(self, medium: AudioClip | RgbImage | VideoClip) -> Patches | None:
        if isinstance(medium, AudioClip):
            return None
        if isinstance(medium, RgbImage):
            seen = self.processor.image_processor(images=[medium.pixels], return_tensors="pt")
            return Patches(seen["pixel_values"], tuple(seen["image_grid_thw"][0].tolist()))
        seen = self.processor.video_processor(
            videos=[medium.frames], do_sample_frames=False, return_tensors="pt"
        )
        return Patches(seen["pixel_values_videos"], tuple(seen["video_grid_thw"][0].tolist()))

    def _medium(self, medium: AudioClip | RgbImage | VideoClip, seen: Patches | None) -> rules.Medium:
        clip = _heard(medium)
        frames = 0 if clip is None else log_mel(clip.samples).shape[1]
        if seen is None:
            return rules.Sound(frames)
        merge = self.config.thinker_config.vision_config.spatial_merge_size
        grid = (seen.grid[1] // merge, seen.grid[2] // merge)
        if isinstance(medium, VideoClip):
            return rules.Video(len(medium.frames), medium.frames_per_second, grid, frames)
        return rules.Picture(grid)


def _in_order(conversation: Conversation) -> Iterator[AudioClip | RgbImage | VideoClip]:
    media = conversation.media
    kinds: dict[str, Iterator[Any]] = {
        "audio_pad": iter(media.audios),
        "image_pad": iter(media.images),
        "video_pad": iter(media.videos),
    }
    for part in conversation.prompt.split("<|")[1:]:
        if (name := part.split("|>")[0]) in kinds:
            yield next(kinds[name])


def _heard(medium: AudioClip | RgbImage | VideoClip) -> AudioClip | None:
    if isinstance(medium, VideoClip):
        return medium.audio
    return medium if isinstance(medium, AudioClip) else None


def _of(kind: type, media: list[Any], shown: list[Patches | None]) -> tuple[Patches, ...]:
    return tuple(seen for each, seen in zip(media, shown, strict=True) if isinstance(each, kind) and seen)
