"""ARIA's chunk rule: the order of text tokens and speech frames in the Talker's one stream.

The rule is not public. Assumption: tts_eos counts as the last text token, so that a chunk waits only for its
own tokens (4 in the published sizes).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import count


@dataclass(frozen=True, slots=True)
class Chunk:
    """Text tokens that enter the stream together; frames follow.

    `last`: it ends in tts_eos. Its frames continue until the codec's EOS, which no other chunk may draw.
    """

    text: tuple[int, ...]
    last: bool


class Kind(Enum):
    TEXT = "a text token"
    FRAME = "a frame of codes"


@dataclass(frozen=True, slots=True)
class Row:
    """A row after the Talker's prompt: the `index`-th of its kind."""

    kind: Kind
    index: int


def chunks(text_ids: Sequence[int], tts_eos: int, size: int) -> list[Chunk]:
    """Splits the text of one answer, tts_eos appended, into chunks of `size`; the last may be shorter."""
    track = (*text_ids, tts_eos)
    pieces = [track[start : start + size] for start in range(0, len(track), size)]
    return [Chunk(piece, number == len(pieces)) for number, piece in enumerate(pieces, start=1)]


def stream_order(text_tokens: int, frames: int, text_size: int, frame_size: int) -> list[Row]:
    """The rows of a complete stream of `text_tokens` (including tts_eos) and `frames` (excluding EOS).

    Each frame is predicted by the row before it, and EOS by the last row. ValueError if the speech ends
    before all text has entered: such a stream cannot be generated.
    """
    bounds = range(0, text_tokens, text_size)
    if text_tokens < 1 or frames < (len(bounds) - 1) * frame_size:
        raise ValueError(f"{frames} frames end before {text_tokens} text tokens have entered the stream")
    return list(_order(bounds, text_tokens, frames, frame_size))


def _order(bounds: range, text_tokens: int, frames: int, frame_size: int) -> Iterator[Row]:
    numbers = count()
    for start in bounds:
        end = min(start + bounds.step, text_tokens)
        yield from (Row(Kind.TEXT, index) for index in range(start, end))
        spoken = (start // bounds.step) * frame_size
        until = frames if end == text_tokens else spoken + frame_size
        yield from (Row(Kind.FRAME, next(numbers)) for _ in range(spoken, until))
