"""Cuts a text into pieces that are spoken one after another, each as an answer of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CLOSING = "\"'”’»)\\]*_`"
# A full stop ends a sentence only before white space: not in 3.14 or example.org.
_SENTENCE_END = re.compile(rf"[.!?…।؟][{_CLOSING}]*(?=\s)|[。！？][{_CLOSING}]*|\n")
_PAUSE = re.compile(r"[,;:–—،؛](?=\s)|[、，；：]")
_SPACE = re.compile(r"(?=\s)")


@dataclass(frozen=True, slots=True)
class TextPiece:
    """`start`: the place of its first character in the whole text."""

    start: int
    text: str


def cut_text(text: str, most: int) -> list[TextPiece]:
    """Pieces of at most `most` characters, without white space around them; none for a blank text.

    A piece ends with a sentence; if that is too long, at a comma or the like, or else between two words.
    """
    pieces, start = [], 0
    while start < len(text):
        end = _end_of_piece(text, start, most)
        piece = text[start:end]
        if not piece.isspace():
            pieces.append(TextPiece(start + len(piece) - len(piece.lstrip()), piece.strip()))
        start = end
    return pieces


def _end_of_piece(text: str, start: int, most: int) -> int:
    limit = start + most
    if limit >= len(text):
        return len(text)
    for boundary in (_SENTENCE_END, _PAUSE, _SPACE):
        # The character behind the limit says whether a mark at the limit ends a sentence.
        found = [match.end() for match in boundary.finditer(text, start + 1, limit + 1)]
        ends = [end for end in found if start < end <= limit]
        if ends:
            return ends[-1]
    return limit
