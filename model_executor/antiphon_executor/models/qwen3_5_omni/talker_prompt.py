"""The part of a Thinker prompt that the Talker reads, the voice prompt before it, and the ids between them.

The rules are not public; `PromptLayout` has two: antiphon-nano's, and the one that public ports agree on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig
from antiphon_executor.models.special_tokens import ROLE_TOKENS, PromptIds


@dataclass(frozen=True, slots=True, eq=False)
class VoicePrompt:
    """The Talker's system prompt: text, reference codec frames (possibly none), text.

    `opening`, `closing`: token ids, including `<|im_start|>system` and `<|im_end|>`; `codes`: int64
    [frames, groups]. `language`: of the speech, a key of `talker_language_id`; None leaves it to the model.
    """

    opening: tuple[int, ...]
    codes: NDArray[np.int64]
    closing: tuple[int, ...]
    language: str | None = None


@dataclass(frozen=True, slots=True)
class PromptLayout:
    """How a checkpoint writes the Talker's prompt. antiphon-nano's has `codec_bos` before the text alone.

    Codec ids: `frames_end` after a voice's frames, with `codec_bos` before them (None: no marks); `thinking`
    between the assistant's header and tts_bos, or `languages` for a voice with a language. `projects_text`:
    not only media but all user content enters as projected hidden states of the Thinker.
    """

    codec_bos: int
    frames_end: int | None = None
    thinking: tuple[int, ...] = ()
    languages: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    projects_text: bool = False

    @classmethod
    def of(cls, config: Qwen3_5OmniMoeConfig) -> PromptLayout:
        """The newer layout if the checkpoint has the codec ids for it."""
        talker = config.talker_config
        if talker.codec_nothink_id is None:
            return cls(talker.codec_bos_id)
        opens, closes = talker.codec_think_bos_id, talker.codec_think_eos_id
        think, ids = talker.codec_think_id, config.talker_language_id or {}
        languages = {name: (think, opens, language, closes) for name, language in ids.items()}
        return cls(
            talker.codec_bos_id,
            frames_end=talker.codec_eos_token_id,
            thinking=(talker.codec_nothink_id, opens, closes),
            languages=languages if think is not None else {},
            projects_text=True,
        )

    def before_text(self, voice: VoicePrompt) -> tuple[int, ...]:
        """The codec ids between the assistant's header and tts_bos. ValueError for an unknown language."""
        if voice.language is None:
            return self.thinking
        if voice.language not in self.languages:
            known = ", ".join(sorted(self.languages)) or "none"
            raise ValueError(f"the model has no language {voice.language!r}; languages: {known}")
        return self.languages[voice.language]

    def frame_marks(self, voice: VoicePrompt) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The codec ids before and after a voice's frames."""
        if self.frames_end is None or not len(voice.codes):
            return (), ()
        return (self.codec_bos,), (self.frames_end,)


def kept_tokens(thinker_ids: NDArray[np.integer], ids: PromptIds, max_media_rows: int) -> NDArray[np.int64]:
    """Ascending indices of the prompt's tokens that the Talker reads.

    All user segments, with at most `max_media_rows` evenly spaced media tokens, then the three tokens of the
    open assistant turn. ValueError if the prompt does not end in one.
    """
    starts = np.flatnonzero(thinker_ids == ids.im_start)
    header = slice(starts[-1], starts[-1] + ROLE_TOKENS) if len(starts) else slice(0)
    if len(thinker_ids[header]) < ROLE_TOKENS or thinker_ids[header][1] != ids.assistant:
        raise ValueError("the prompt does not end in an open assistant turn")
    chosen = user_tokens(thinker_ids, ids, max_media_rows)
    return np.concatenate((chosen, np.arange(header.start, header.stop)))


def user_tokens(thinker_ids: NDArray[np.integer], ids: PromptIds, max_media_rows: int) -> NDArray[np.int64]:
    """Ascending indices of all user segments, with at most `max_media_rows` evenly spaced media tokens."""
    users = np.flatnonzero(ids.in_user_segment(thinker_ids))
    media = ids.is_media(thinker_ids[users])
    return np.sort(np.concatenate((users[~media], evenly(users[media], max_media_rows))))


def is_projected(
    thinker_ids: NDArray[np.integer], ids: PromptIds, *, projects_text: bool
) -> NDArray[np.bool_]:
    """Bool [n]: whose rows are projected hidden states: media, or all user content but the role tokens."""
    users = ids.in_user_segment(thinker_ids)
    if not projects_text:
        return users & ids.is_media(thinker_ids)
    places = np.arange(len(thinker_ids))
    starts = np.maximum.accumulate(np.where(thinker_ids == ids.im_start, places, 0))
    return users & (places - starts >= ROLE_TOKENS)


def evenly(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """`rows`, or `most` of them at even distances, starting with the first."""
    if len(rows) <= most:
        return rows
    return rows[np.arange(most) * len(rows) // most]
