"""The end of a text that was cut short, as the Talker reads it: closed like a whole sentence.

In: the last tokens before the cut. Out: what the Talker reads in their place. It has learned to end behind a
full stop; behind half a sentence it may speak on and on. The transcript stays as it is.
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
    """One answer's. `see` what is spoken; `close` where it is cut."""

    def __init__(self, decode: Decode, encode: Encode) -> None:
        self._decode = decode
        self._encode = encode
        self._read: deque[int] = deque(maxlen=_REMEMBERED)

    def see(self, token_ids: Sequence[int]) -> None:
        """The Talker reads these, as they are."""
        self._read.extend(token_ids)

    def close(self, token_ids: Sequence[int]) -> list[int]:
        """In place of `token_ids`, the last of the text, which may be none.

        An open mark at the very end is left out. Nothing is added to an answer that says nothing.
        """
        kept = list(token_ids)
        while kept and self._is_open_mark(kept[-1]):
            kept.pop()
        said = self._decode([*self._read, *kept]).rstrip(_QUOTES)
        if not said or said[-1] in _CLOSED:
            return list(token_ids)
        return [*kept, *self._encode(_stop_for(said[-1]))]

    def _is_open_mark(self, token: int) -> bool:
        text = self._decode([token]).strip()
        return bool(text) and all(character in _OPEN_MARKS for character in text)


def _stop_for(letter: str) -> str:
    """The full stop of the letter's script."""
    if "\u3041" <= letter <= "\u30ff" or "\u3400" <= letter <= "\u9fff":
        return "\u3002"
    return "\u0964" if "\u0900" <= letter <= "\u0dff" else "."
