"""Which of the Thinker's tokens may be spoken: all but its end token, and none of a stop string.

While stop strings are watched for, vLLM holds text back that may turn out to be one; tokens wait with it, so
that nothing is said that the transcript does not hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spoken:
    """Tokens to speak, and where in the text of the whole answer each one's ends, in characters."""

    token_ids: tuple[int, ...]
    ends: tuple[int, ...]


class SpeakableText:
    """Feed deltas of tokens and text; get the tokens that are certain.

    `decode`: tokens to text as the client sees it, which holds no special tokens.
    """

    def __init__(self, decode: Callable[[list[int]], str], ends: frozenset[int], has_stop: bool) -> None:
        self._decode = decode
        self._ends = ends
        self._has_stop = has_stop
        self._tokens: list[int] = []
        self._chars = 0
        self._spoken = 0

    def take(self, token_ids: list[int], text: str) -> Spoken:
        """`text` is what the same delta released. Returns the tokens to speak now, in order, each once."""
        fresh = [token for token in token_ids if token not in self._ends]
        self._tokens += fresh
        before, self._chars = self._chars, self._chars + len(text)
        ends = self._covered() if self._has_stop else self._shared_out(fresh, before)
        ready = self._tokens[self._spoken : self._spoken + len(ends)]
        self._spoken += len(ends)
        return Spoken(tuple(ready), ends)

    def _covered(self) -> tuple[int, ...]:
        """Ends of the tokens that the released text covers; not of one that only begins inside of it."""
        unspoken = range(self._spoken + 1, len(self._tokens) + 1)
        ends = [len(self._decode(self._tokens[:count])) for count in unspoken]
        while ends and ends[-1] > self._chars:
            ends.pop()
        return tuple(min(end, self._chars) for end in ends)

    def _shared_out(self, fresh: list[int], before: int) -> tuple[int, ...]:
        """Ends in the text behind `before`, of one token nearly always. The last has all the rest of it."""
        inner = (before + len(self._decode(fresh[:count])) for count in range(1, len(fresh)))
        return tuple(min(end, self._chars) for end in inner) + ((self._chars,) if fresh else ())
