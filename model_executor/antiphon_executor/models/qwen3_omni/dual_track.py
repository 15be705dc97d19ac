"""The Talker's two tracks: which rows its prompt has, and which text row each later frame takes.

In: a Thinker prompt with its TM-RoPE positions; the text ids as they are generated. Out: token ids that say
what each prompt row is, the Talker's own positions, the text track. Pure; never touches embeddings.
Reference: transformers' `Qwen3OmniMoeForConditionalGeneration.generate`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.errors import InvalidRequest
from antiphon_executor.models.special_tokens import ROLE_TOKENS, PromptIds


class RowKind(Enum):
    """What a token id of the Talker says its row is, in the order of the partitions."""

    CODEC = "a generated code 0"
    TEXT = "the projected embedding of a text id"
    SHARED = "a `SharedRow` of the assistant prefix"
    SPEAKER = "tts_pad + a speaker's codec id"
    FIRST_TEXT = "entry 0 of the stream's text track + codec_bos: the row that samples frame 0"
    SLOT = "<|im_start|>, a prompt's first row; the index is the stream's slot"
    MEDIA = "one of the stream's media rows"


class SharedRow(IntEnum):
    """Prefix rows that all streams share: a text id plus a codec id."""

    NOTHINK = 0  # tts_pad + codec_nothink
    THINK_BOS = 1  # tts_pad + codec_think_bos
    THINK_EOS = 2  # tts_pad + codec_think_eos
    TTS_BOS = 3  # tts_bos + codec_pad


@dataclass(frozen=True, slots=True)
class Row:
    """A row and its index within its kind; FIRST_TEXT has index 0 alone."""

    kind: RowKind
    index: int


@dataclass(frozen=True, slots=True)
class TalkerVocabulary:
    """Token ids of the Talker, one partition a `RowKind`. `slots` counts every slot number in use, from 0."""

    codec: int
    text: int
    speakers: int
    slots: int
    media_rows: int

    @property
    def text_base(self) -> int:
        return self.codec

    @property
    def prefix_base(self) -> int:
        return self.text_base + self.text

    @property
    def speaker_base(self) -> int:
        return self.prefix_base + len(SharedRow)

    @property
    def first_text_row(self) -> int:
        return self.speaker_base + self.speakers

    @property
    def slot_base(self) -> int:
        return self.first_text_row + 1

    @property
    def media_base(self) -> int:
        return self.slot_base + self.slots

    @property
    def size(self) -> int:
        return self.media_base + self.media_rows

    def encode(self, kind: RowKind, index: int = 0) -> int:
        """The token id of a row. ValueError where the partition has no such index."""
        partition = dict(zip(RowKind, self._partitions(), strict=True))[kind]
        if not 0 <= index < len(partition):
            raise ValueError(f"there is no row {index} of {len(partition)} of kind {kind.name}")
        return partition[index]

    def decode(self, token: int) -> Row:
        """The row of a token id. ValueError outside the vocabulary."""
        for kind, partition in zip(RowKind, self._partitions(), strict=True):
            if token in partition:
                return Row(kind, token - partition.start)
        raise ValueError(f"token {token} is outside a Talker vocabulary of {self.size}")

    def _partitions(self) -> Iterator[range]:
        bases = (0, self.text_base, self.prefix_base, self.speaker_base, self.first_text_row)
        return (range(*pair) for pair in pairwise((*bases, self.slot_base, self.media_base, self.size)))


@dataclass(frozen=True, slots=True, eq=False)
class TalkerPrompt:
    """What the Talker's engine is given to speak one answer.

    `token_ids` [m]; `positions` float64 [3, m]; `media_index` int32: indices in the Thinker's prompt of the
    media rows, in their order. Generated token i stands at m + i + `position_delta` on all three axes.
    `opening`: text ids that the prompt puts behind the assistant header; the text track begins with them.
    """

    token_ids: list[int]
    positions: NDArray[np.float64]
    media_index: NDArray[np.int32]
    position_delta: float
    opening: list[int]


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
    InvalidRequest where the prompt does not end in an open assistant turn, or has more media than fits.
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
        opening=thinker_ids[answer + ROLE_TOKENS :].tolist(),
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
    """Rows `start` to `end` of the user segments; `in_line`: one position a row, instead of the Thinker's."""

    start: int
    end: int
    in_line: bool


def _user_positions(
    kinds: NDArray[np.int64], thinker: NDArray[np.float64], ids: PromptIds
) -> tuple[NDArray[np.float64], float]:
    """Positions [3, rows] of the user rows as if nothing had ever stood between them, and the next one.

    Within a piece only a constant is taken off the Thinker's positions, because TM-RoPE counts from where a
    medium begins. Pieces start with text, whose three axes are equal.
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
    """Cuts at segment starts, and around videos with sound that transformers' Talker reads as text.

    `generate` does not tell its Talker `use_audio_in_video`: `get_rope_index` then sees the sound of such a
    video, and no video, unless a picture still follows in the prompt.
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
