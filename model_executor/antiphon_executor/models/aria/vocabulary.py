"""The ARIA Talker's vocabulary: token ids that say what each row of its stream is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise


class AriaKind(Enum):
    """The kinds of rows, in the order of their ranges of token ids."""

    CODEC = "an id of the codec vocabulary; after the prompt, the frame at this place"
    TEXT = "a text id in the Talker's own embedding table"
    SLOT = "<|im_start|>, a prompt's first row; the index is the stream's slot (0: padding)"
    EMBEDDING = "one of the stream's prompt embeddings: the voice's frames, then the multimodal hidden states"


@dataclass(frozen=True, slots=True)
class AriaVocabulary:
    """Sizes of the ranges of token ids, one per `AriaKind`. `slots` includes the padding slot 0."""

    codec: int
    text: int
    slots: int
    embedding_rows: int

    @property
    def last_frame(self) -> int:
        """Stands for the last frame, whose codes are in the slot; any code id would do."""
        return 0

    @property
    def text_base(self) -> int:
        return self.codec

    @property
    def slot_base(self) -> int:
        return self.text_base + self.text

    @property
    def embedding_base(self) -> int:
        return self.slot_base + self.slots

    @property
    def size(self) -> int:
        return self.embedding_base + self.embedding_rows

    def encode(self, kind: AriaKind, index: int) -> int:
        """The token id of a row. ValueError if the kind has no such index."""
        bounds = pairwise((0, self.text_base, self.slot_base, self.embedding_base, self.size))
        start, end = dict(zip(AriaKind, bounds, strict=True))[kind]
        if not 0 <= index < end - start:
            raise ValueError(f"row {index} of kind {kind.name} is out of range: there are {end - start}")
        return start + index
