"""Cuts a text into pieces that are spoken one after another, each as an answer of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CLOSING = "\"'”’»)\\]*_`"
# A full stop ends a sentence only before white space: not in 3.14 or example.org.
_SENTENCE_END = re.compile(rf"[.!?…।؟][{_CLOSING}]*(?=\s)|[。！？][{_CLOSING}]*|\n")
_PAUSE = re.compile(r"[,;:–—،؛](?=\s)|[、，；：]")
_SPACE = re.compile(r"(?=\s)")
# A Talker reads a long sentence better whole than in two parts.
WHOLE_SENTENCE = 2


@dataclass(frozen=True, slots=True)
class TextPiece:
    """`start`: the place of its first character in the whole text."""

    start: int
    text: str


def cut_text(text: str, most: int) -> list[TextPiece]:
    """Pieces of at most `most` characters, without white space around them; none for a blank text.

    A piece ends with a sentence. A sentence of up to `WHOLE_SENTENCE` times `most` is a piece of its own; a
    longer one is cut at commas or the like, or else between two words.
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
    if sentences := _ends(_SENTENCE_END, text, start, limit):
        return sentences[-1]
    longest = start + WHOLE_SENTENCE * most
    if sentence := _ends(_SENTENCE_END, text, start, longest):
        return sentence[0]
    if longest >= len(text):
        return len(text)
    for boundary in (_PAUSE, _SPACE):
        if ends := _ends(boundary, text, start, limit):
            return ends[-1]
    return limit


def _ends(boundary: re.Pattern[str], text: str, start: int, limit: int) -> list[int]:
    # The character behind the limit says whether a mark at the limit ends a sentence.
    found = [match.end() for match in boundary.finditer(text, start + 1, limit + 1)]
    return [end for end in found if start < end <= limit]
