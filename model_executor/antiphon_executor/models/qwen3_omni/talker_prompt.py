"""The Talker's prompt for a Thinker prompt: rows as token ids, and the Talker's own TM-RoPE positions.

Pure functions on ids, no embeddings.
Reference: transformers' `Qwen3OmniMoeForConditionalGeneration.generate`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.errors import InvalidRequest
from antiphon_executor.models.qwen3_omni.vocabulary import RowKind, SharedRow, TalkerVocabulary
from antiphon_executor.models.special_tokens import ROLE_TOKENS, PromptIds


@dataclass(frozen=True, slots=True, eq=False)
class TalkerPrompt:
    """The Talker's prompt for one answer.

    `token_ids` [m]; `positions` float64 [3, m]; `media_index` int32: the Thinker prompt's indices of the
    multimodal hidden states, in order. Generated token i has position m + i + `position_delta` on all axes.
    `first_text_ids`: text ids of the prompt after the assistant header; the text track begins with them.
    """

    token_ids: list[int]
    positions: NDArray[np.float64]
    media_index: NDArray[np.int32]
    position_delta: float
    first_text_ids: list[int]


def talker_prompt(
    thinker_ids: NDArray[np.integer],
    positions: NDArray[np.float64],
    ids: PromptIds,
    vocabulary: TalkerVocabulary,
    *,
    slot: int,
    speaker: int,
) -> TalkerPrompt:
    """The Talker's prompt for a Thinker prompt: its user segments, then the assistant prefix.

    `thinker_ids`: [n], media expanded; `positions`: [3, n], the Thinker's; `speaker`: index of the voice.
    InvalidRequest if the prompt does not end in an open assistant turn, or has more media than fits.
    """
    answer = _open_answer(thinker_ids, ids)
    users = np.flatnonzero(ids.in_user_segment(thinker_ids))
    kinds = thinker_ids[users].astype(np.int64)
    media = ids.is_media(kinds)
    if media.sum() > vocabulary.media_rows:
        most = vocabulary.media_rows
        raise InvalidRequest(f"the conversation has {media.sum()} media tokens; speech can follow {most}")
    rows = vocabulary.text_base + kinds
    rows[media] = vocabulary.media_base + np.arange(media.sum())
    header = thinker_ids[answer : answer + ROLE_TOKENS].tolist()
    token_ids = rows.tolist() + _assistant_prefix(header, vocabulary, speaker)
    token_ids[0] = vocabulary.encode(RowKind.SLOT, slot)
    placed, following = _user_positions(kinds, positions[:, users].astype(np.float64), ids)
    prefix = following + np.arange(len(token_ids) - len(users))
    return TalkerPrompt(
        token_ids=token_ids,
        positions=np.concatenate((placed, np.tile(prefix, (3, 1))), axis=1),
        media_index=users[media].astype(np.int32),
        position_delta=following - len(users),
        first_text_ids=thinker_ids[answer + ROLE_TOKENS :].tolist(),
    )


def _open_answer(thinker_ids: NDArray[np.integer], ids: PromptIds) -> int:
    starts = np.flatnonzero(thinker_ids == ids.im_start)
    last = int(starts[-1]) if len(starts) else len(thinker_ids)
    if last + ROLE_TOKENS > len(thinker_ids) or thinker_ids[last + 1] != ids.assistant:
        raise InvalidRequest("the prompt does not end in an open assistant turn")
    return last


def _assistant_prefix(header: list[int], vocabulary: TalkerVocabulary, speaker: int) -> list[int]:
    return [
        *(vocabulary.encode(RowKind.TEXT, token) for token in header),
        vocabulary.encode(RowKind.SHARED, SharedRow.NOTHINK),
        vocabulary.encode(RowKind.SHARED, SharedRow.THINK_BOS),
        vocabulary.encode(RowKind.SHARED, SharedRow.THINK_EOS),
        vocabulary.encode(RowKind.SPEAKER, speaker),
        vocabulary.encode(RowKind.SHARED, SharedRow.TTS_BOS),
        vocabulary.encode(RowKind.FIRST_TEXT),
    ]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows `start` to `end` of the user segments. `in_line`: consecutive positions, not the Thinker's."""

    start: int
    end: int
    in_line: bool


def _user_positions(
    kinds: NDArray[np.int64], thinker: NDArray[np.float64], ids: PromptIds
) -> tuple[NDArray[np.float64], float]:
    """Positions [3, rows] of the user rows, as if no other rows stood between them, and the next position.

    Within a piece a constant is subtracted from the Thinker's positions, because TM-RoPE counts from the
    beginning of a medium. Pieces start with text, whose three axes are equal.
    """
    placed = np.empty_like(thinker)
    following = 0.0
    for piece in _pieces(kinds, ids):
        here = slice(piece.start, piece.end)
        if piece.in_line:
            placed[:, here] = following + np.arange(piece.end - piece.start)
        else:
            placed[:, here] = thinker[:, here] - thinker[0, piece.start] + following
        following = float(placed[:, piece.end - 1].max()) + 1
    return placed, following


def _pieces(kinds: NDArray[np.int64], ids: PromptIds) -> Iterator[_Piece]:
    """Cuts at segment starts, and around videos with sound to which transformers gives text positions.

    `generate` does not pass `use_audio_in_video` to its Talker. `get_rope_index` then finds the sound of such
    a video but no video, unless a picture follows in the prompt.
    """
    runs = list(_media_runs(kinds, ids))
    sounding = [bool((kinds[a:b] == ids.audio).any() and (kinds[a:b] == ids.video).any()) for a, b in runs]
    seen = [bool((kinds[a:b] != ids.audio).any()) for a, b in runs]
    last_picture = max((i for i, s in enumerate(sounding) if seen[i] and not s), default=-1)
    in_line = {run for i, run in enumerate(runs) if sounding[i] and i > last_picture}
    cuts = set(np.flatnonzero(kinds == ids.im_start).tolist()) | {0, len(kinds)}
    cuts |= {edge for run in in_line for edge in run}
    return (_Piece(a, b, (a, b) in in_line) for a, b in pairwise(sorted(cuts)))


def _media_runs(kinds: NDArray[np.int64], ids: PromptIds) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(ids.is_media(kinds).astype(np.int8), prepend=0, append=0))
    return ((int(a), int(b)) for a, b in edges.reshape(-1, 2))
