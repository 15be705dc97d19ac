"""Which of the Thinker's tokens may be spoken: all but its end token, and none of a stop string.

While stop strings are watched for, vLLM holds text back that may turn out to be one; tokens wait with it, so
that nothing is said that the transcript does not hold.
"""

from __future__ import annotations

from collections.abc import Callable


class SpeakableText:
    """Feed deltas of tokens and text; get the tokens that are certain."""

    def __init__(self, decode: Callable[[list[int]], str], ends: frozenset[int], has_stop: bool) -> None:
        self._decode = decode
        self._ends = ends
        self._has_stop = has_stop
        self._tokens: list[int] = []
        self._text = ""
        self._spoken = 0

    def take(self, token_ids: list[int], text: str) -> list[int]:
        """`text` is what the same delta released. Returns the tokens to speak now, in order, each once."""
        self._tokens += [token for token in token_ids if token not in self._ends]
        self._text += text
        certain = self._covered() if self._has_stop else len(self._tokens)
        ready = self._tokens[self._spoken : certain]
        self._spoken = max(self._spoken, certain)
        return ready

    def _covered(self) -> int:
        """How many tokens the released text covers. A token that only begins inside of it is not covered."""
        count = len(self._tokens)
        while count > self._spoken and len(self._decode(self._tokens[:count])) > len(self._text):
            count -= 1
        return count
