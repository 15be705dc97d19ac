"""Text ids with a meaning in prompts, and what they say about one: whose segments, which media.

Reference: transformers' `Qwen3OmniMoeForConditionalGeneration.generate`, which picks the Talker's prompt so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PretrainedConfig

ROLE_TOKENS = 3  # <|im_start|>, role, newline


@dataclass(frozen=True, slots=True)
class PromptIds:
    """Role tokens, media placeholders and the text track's own tokens."""

    im_start: int
    user: int
    assistant: int
    audio: int
    image: int
    video: int
    tts_pad: int
    tts_bos: int
    tts_eos: int

    @classmethod
    def of(cls, config: PretrainedConfig) -> PromptIds:
        """`config`: the whole checkpoint's (`Qwen3OmniMoeConfig`)."""
        thinker = config.thinker_config
        return cls(
            im_start=config.im_start_token_id,
            user=config.user_token_id,
            assistant=config.assistant_token_id,
            audio=thinker.audio_token_id,
            image=thinker.image_token_id,
            video=thinker.video_token_id,
            tts_pad=config.tts_pad_token_id,
            tts_bos=config.tts_bos_token_id,
            tts_eos=config.tts_eos_token_id,
        )

    @property
    def controls(self) -> tuple[int, ...]:
        """Ids that stand for no word: placeholders, the text track's marks, the start of a segment."""
        return (self.im_start, self.audio, self.image, self.video, self.tts_pad, self.tts_bos, self.tts_eos)

    def is_media(self, token_ids: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which of `token_ids` [n] are placeholders of audio, image or video."""
        return np.isin(token_ids, (self.audio, self.image, self.video))

    def in_user_segment(self, token_ids: NDArray[np.integer]) -> NDArray[np.bool_]:
        """From each `<|im_start|>user` to the next `<|im_start|>`: with header, `<|im_end|>` and newline."""
        starts = token_ids == self.im_start
        opens = starts & (np.append(token_ids[1:], -1) == self.user)
        latest = np.maximum.accumulate(np.where(starts, np.arange(len(token_ids)), -1))
        return (latest >= 0) & opens[latest]

    def user_media(self, token_ids: NDArray[np.integer]) -> NDArray[np.int32]:
        """Indices of the media tokens in user segments, ascending: the rows that a Talker needs."""
        return np.flatnonzero(self.in_user_segment(token_ids) & self.is_media(token_ids)).astype(np.int32)
