"""The text of one answer as the model has generated it, token by token."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable


class GeneratedText:
    """`ids_of` gives back the tokens of what was heard of it: another tokenization may differ from theirs."""

    def __init__(self) -> None:
        self.text = ""
        self._ids = array("I")
        # For each token the character at which it ends.
        self._ends = array("I")

    def __sizeof__(self) -> int:
        return 2 * len(self._ids) * self._ids.itemsize

    def add(self, text: str, ids: Iterable[int]) -> None:
        self.text += text
        for token in ids:
            self._ids.append(token)
            self._ends.append(len(self.text))

    def ids_of(self, beginning: str) -> tuple[int, ...]:
        """The tokens of the text's beginning; () if none ends there. The whole has its end token too."""
        if not beginning or not self.text.startswith(beginning):
            return ()
        if len(beginning) == len(self.text):
            return tuple(self._ids)
        count = bisect_right(self._ends, len(beginning))
        return tuple(self._ids[:count]) if count and self._ends[count - 1] == len(beginning) else ()
