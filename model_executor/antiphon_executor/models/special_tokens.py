"""Special token ids of prompts, and what follows from them: user segments and media tokens.

Reference: transformers' `Qwen3OmniMoeForConditionalGeneration.generate`, where it builds the Talker's prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PretrainedConfig

ROLE_TOKENS = 3  # <|im_start|>, role, newline


@dataclass(frozen=True, slots=True)
class PromptIds:
    """Ids of role tokens, media placeholders and the Talker's text control tokens."""

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
        """`config`: the whole checkpoint's, of any family."""
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
        """Ids that are never spoken: placeholders, text control tokens, the start of a segment."""
        return (self.im_start, self.audio, self.image, self.video, self.tts_pad, self.tts_bos, self.tts_eos)

    def is_media(self, token_ids: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which of `token_ids` [n] are placeholders of audio, image or video."""
        return np.isin(token_ids, (self.audio, self.image, self.video))

    def in_user_segment(self, token_ids: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Bool [n]: from each `<|im_start|>user` up to the next `<|im_start|>`, header and end included."""
        starts = token_ids == self.im_start
        opens = starts & (np.append(token_ids[1:], -1) == self.user)
        latest = np.maximum.accumulate(np.where(starts, np.arange(len(token_ids)), -1))
        return (latest >= 0) & opens[latest]

    def user_media(self, token_ids: NDArray[np.integer]) -> NDArray[np.int32]:
        """Ascending indices of the media tokens in user segments: the hidden states that a Talker needs."""
        return np.flatnonzero(self.in_user_segment(token_ids) & self.is_media(token_ids)).astype(np.int32)
