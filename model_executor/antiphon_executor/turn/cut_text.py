"""Ends a cut text with a full stop for the Talker.

The Talker was trained to end after a full stop; after half a sentence it may not end. The transcript does not
change.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

_CLOSED = ".!?…\u3002\uff01\uff1f\u0964\u061f"
_OPEN_MARKS = ",;:-–—(\u3001\uff0c\uff1b\uff1a\u060c\u061b"
_QUOTES = "\"'”’»)]}*_` \t\n"
_REMEMBERED = 4

Encode = Callable[[str], list[int]]
Decode = Callable[[list[int]], str]


class CutText:
    """The text of one answer: `remember` what is spoken, then `with_full_stop` if it is cut."""

    def __init__(self, decode: Decode, encode: Encode) -> None:
        self._decode = decode
        self._encode = encode
        self._read: deque[int] = deque(maxlen=_REMEMBERED)

    def remember(self, token_ids: Sequence[int]) -> None:
        """These tokens go to the Talker unchanged."""
        self._read.extend(token_ids)

    def with_full_stop(self, token_ids: Sequence[int]) -> list[int]:
        """The last tokens of the text (`token_ids`, may be empty) followed by a full stop.

        A comma or other open mark at the end is removed. An answer without words is returned unchanged.
        """
        kept = list(token_ids)
        while kept and self._is_open_mark(kept[-1]):
            kept.pop()
        text = self._decode([*self._read, *kept]).rstrip(_QUOTES)
        if not text or text[-1] in _CLOSED:
            return list(token_ids)
        return [*kept, *self._encode(_full_stop(text[-1]))]

    def _is_open_mark(self, token: int) -> bool:
        text = self._decode([token]).strip()
        return bool(text) and all(character in _OPEN_MARKS for character in text)


def _full_stop(letter: str) -> str:
    """The full stop of the letter's script."""
    if "\u3041" <= letter <= "\u30ff" or "\u3400" <= letter <= "\u9fff":
        return "\u3002"
    return "\u0964" if "\u0900" <= letter <= "\u0dff" else "."
