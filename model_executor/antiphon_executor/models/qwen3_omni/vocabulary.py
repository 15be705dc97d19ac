"""The Talker's vocabulary: token ids that say what each row of its sequence is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum
from itertools import pairwise


class RowKind(Enum):
    """The kinds of rows, in the order of their ranges of token ids."""

    CODEC = "a generated code 0"
    TEXT = "the projected embedding of a text id"
    SHARED = "a `SharedRow` of the assistant prefix"
    SPEAKER = "tts_pad + a speaker's codec id"
    FIRST_TEXT = "entry 0 of the stream's text track + codec_bos: the row that samples frame 0"
    SLOT = "<|im_start|>, a prompt's first row; the index is the stream's slot"
    MEDIA = "one of the stream's multimodal hidden states, projected"


class SharedRow(IntEnum):
    """Prefix rows that all streams have: a text id plus a codec id."""

    NOTHINK = 0  # tts_pad + codec_nothink
    THINK_BOS = 1  # tts_pad + codec_think_bos
    THINK_EOS = 2  # tts_pad + codec_think_eos
    TTS_BOS = 3  # tts_bos + codec_pad


@dataclass(frozen=True, slots=True)
class Row:
    """A row and its index within its kind; FIRST_TEXT has only index 0."""

    kind: RowKind
    index: int


@dataclass(frozen=True, slots=True)
class TalkerVocabulary:
    """Sizes of the ranges of token ids, one per `RowKind`. `slots` includes the padding slot 0."""

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
        """The token id of a row. ValueError if the kind has no such index."""
        partition = dict(zip(RowKind, self._partitions(), strict=True))[kind]
        if not 0 <= index < len(partition):
            raise ValueError(f"row {index} of kind {kind.name} is out of range: there are {len(partition)}")
        return partition[index]

    def decode(self, token: int) -> Row:
        """The row of a token id. ValueError for an id outside the vocabulary."""
        for kind, partition in zip(RowKind, self._partitions(), strict=True):
            if token in partition:
                return Row(kind, token - partition.start)
        raise ValueError(f"token {token} is outside a Talker vocabulary of {self.size}")

    def _partitions(self) -> Iterator[range]:
        bases = (0, self.text_base, self.prefix_base, self.speaker_base, self.first_text_row)
        return (range(*pair) for pair in pairwise((*bases, self.slot_base, self.media_base, self.size)))
