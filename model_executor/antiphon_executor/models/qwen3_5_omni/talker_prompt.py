"""Which tokens of a Thinker prompt the Talker reads, and the voice that it is told to speak in.

In: a Thinker prompt's ids. Out: indices of the tokens kept. Pure; touches no embeddings.
Not public, and read here as in Qwen3-Omni: all user segments, then the assistant header.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.models.special_tokens import ROLE_TOKENS, PromptIds


@dataclass(frozen=True, slots=True, eq=False)
class VoicePrompt:
    """The Talker's system prompt: text, reference codec frames (or none), text.

    `opening`, `closing`: token ids, `<|im_start|>system` and `<|im_end|>` included; `codes`: int64
    [frames, groups].
    """

    opening: tuple[int, ...]
    codes: NDArray[np.int64]
    closing: tuple[int, ...]


def kept_tokens(thinker_ids: NDArray[np.integer], ids: PromptIds, max_media_rows: int) -> NDArray[np.int64]:
    """Indices of the prompt's tokens that the Talker reads, rising.

    User segments with at most `max_media_rows` media tokens, evenly subsampled over all of them, then the
    three tokens of the open assistant turn. ValueError where the prompt does not end in one.
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
    """`rows`, or `most` of them with even gaps, the first among them."""
    if len(rows) <= most:
        return rows
    return rows[np.arange(most) * len(rows) // most]
