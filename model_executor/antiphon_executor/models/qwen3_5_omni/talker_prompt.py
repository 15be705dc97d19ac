"""The part of a Thinker prompt that the Talker reads, and the voice prompt before it.

The rule is not public. Assumption: as in Qwen3-Omni, all user segments and the assistant header.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.models.special_tokens import ROLE_TOKENS, PromptIds


@dataclass(frozen=True, slots=True, eq=False)
class VoicePrompt:
    """The Talker's system prompt: text, reference codec frames (possibly none), text.

    `opening`, `closing`: token ids, including `<|im_start|>system` and `<|im_end|>`; `codes`: int64
    [frames, groups].
    """

    opening: tuple[int, ...]
    codes: NDArray[np.int64]
    closing: tuple[int, ...]


def kept_tokens(thinker_ids: NDArray[np.integer], ids: PromptIds, max_media_rows: int) -> NDArray[np.int64]:
    """Ascending indices of the prompt's tokens that the Talker reads.

    All user segments, with at most `max_media_rows` evenly spaced media tokens, then the three tokens of the
    open assistant turn. ValueError if the prompt does not end in one.
    """
    starts = np.flatnonzero(thinker_ids == ids.im_start)
    header = slice(starts[-1], starts[-1] + ROLE_TOKENS) if len(starts) else slice(0)
    if len(thinker_ids[header]) < ROLE_TOKENS or thinker_ids[header][1] != ids.assistant:
        raise ValueError("the prompt does not end in an open assistant turn")
    users = np.flatnonzero(ids.in_user_segment(thinker_ids))
    media = ids.is_media(thinker_ids[users])
    chosen = np.concatenate((users[~media], evenly(users[media], max_media_rows)))
    return np.concatenate((np.sort(chosen), np.arange(header.start, header.stop)))


def evenly(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """`rows`, or `most` of them at even distances, starting with the first."""
    if len(rows) <= most:
        return rows
    return rows[np.arange(most) * len(rows) // most]
