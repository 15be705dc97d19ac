"""Pieces of a long text, each short enough for one request, and the joining of their audio."""

from __future__ import annotations

import re

# OpenAI's limit of one request.
MAX_CHARS = 4_096
_ENDS = (re.compile(r"\n\s*\n"), re.compile(r"(?<=[.!?。！？])\s+|\n"), re.compile(r"\s+"))
_HEADER, _SIZES_AT = 12, 4


def pieces_of(text: str, max_chars: int = MAX_CHARS) -> list[str]:
    """Cuts at the ends of paragraphs, of sentences or of words, whichever comes first as seldom as it can."""
    pieces, rest = [], text.strip()
    while len(rest) > max_chars:
        at = _last_end(rest, max_chars)
        pieces.append(rest[:at].strip())
        rest = rest[at:].strip()
    return [*pieces, rest] if rest else pieces


def _last_end(text: str, max_chars: int) -> int:
    for end in _ENDS:
        found = [match.end() for match in end.finditer(text, 0, max_chars)]
        if found and found[-1] > max_chars // 2:
            return found[-1]
    return max_chars


def wav_samples_at(data: bytes) -> int | None:
    """Where the samples of a WAV file begin; None while its header is not complete."""
    at = _HEADER
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"data":
            return at + 8
        at += 8 + size + size % 2
    return None


def wav_sizes(header_bytes: int, file_bytes: int) -> tuple[tuple[int, bytes], ...]:
    """What a streamed WAV header lacks, by place: the sizes of the file and of its samples."""
    return (
        (_SIZES_AT, (file_bytes - 8).to_bytes(4, "little")),
        (header_bytes - 4, (file_bytes - header_bytes).to_bytes(4, "little")),
    )
