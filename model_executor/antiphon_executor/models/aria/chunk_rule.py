"""ARIA's chunk rule: in which order text tokens and frames stand in the Talker's one stream.

In: the text of an answer, or how long it and its speech are. Out: chunks, or the order of the rows. Pure.
Not public, and read here in the simplest way: tts_eos counts as the last text token, so that a chunk never
waits for more than its own four tokens to be known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import count


@dataclass(frozen=True, slots=True)
class Chunk:
    """Text tokens that enter the stream together, and the frames that follow.

    `last`: it ends in tts_eos; its frames go on to the codec's EOS, which no other chunk may draw.
    """

    text: tuple[int, ...]
    last: bool


class Kind(Enum):
    TEXT = "a text token"
    FRAME = "a frame of codes"


@dataclass(frozen=True, slots=True)
class Row:
    """A row behind the Talker's prompt: the `index`-th of its kind."""

    kind: Kind
    index: int


def chunks(text_ids: Sequence[int], tts_eos: int, size: int) -> list[Chunk]:
    """The text of one answer in chunks of `size`, tts_eos behind it; the last may be shorter."""
    track = (*text_ids, tts_eos)
    pieces = [track[start : start + size] for start in range(0, len(track), size)]
    return [Chunk(piece, number == len(pieces)) for number, piece in enumerate(pieces, start=1)]


def stream_order(text_tokens: int, frames: int, text_size: int, frame_size: int) -> list[Row]:
    """The rows of a finished stream: `text_tokens` (tts_eos included) and `frames`, EOS left out.

    Each frame is predicted by the row before it, EOS by the last row. ValueError where the speech ends
    before its text: such a stream cannot be generated.
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
