"""Selects the Thinker's tokens that are spoken: all except the end token, stop strings and tool calls.

While vLLM watches for stop strings it holds back text that may belong to one. Their tokens wait with it, so
speech never contains anything that the transcript does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SpokenTokens:
    """Tokens to speak, and for each the character offset in the whole answer's text at which it ends."""

    token_ids: tuple[int, ...]
    ends: tuple[int, ...]


# More tokens of white space at the beginning count as words: each costs a decoding of all before it.
_MOST_BLANK = 32


class SpokenTokenFilter:
    """Takes deltas of tokens and text; returns the tokens that are certain to be spoken.

    `decode`: tokens to text as the client sees it, without special tokens. `end_tokens`: never spoken.
    `unspoken_from`: the token from which on nothing is spoken; nor is white space before it if it is all.
    """

    def __init__(
        self,
        decode: Callable[[list[int]], str],
        end_tokens: frozenset[int],
        has_stop: bool,
        unspoken_from: int | None = None,
    ) -> None:
        self._decode = decode
        self._end_tokens = end_tokens
        self._has_stop = has_stop
        self._unspoken_from = unspoken_from
        self._tokens: list[int] = []
        self._chars = 0
        self._released = 0
        self._has_words = unspoken_from is None
        self.is_over = False

    @property
    def text(self) -> str:
        """The text of all tokens that are spoken or wait to be."""
        return self._decode(self._tokens)

    def release(self, token_ids: list[int], text: str) -> SpokenTokens:
        """Tokens to speak now, in order, each once. `text`: the text that vLLM released with this delta."""
        fresh = self._before_the_end([token for token in token_ids if token not in self._end_tokens])
        self._tokens += fresh
        before, self._chars = self._chars, self._chars + len(text)
        # Only white space waits although no stop string is watched for, and it is how the answer begins.
        waiting = self._tokens[self._released :]
        start = before if len(waiting) == len(fresh) else 0
        if not self._hears_words():
            ends: tuple[int, ...] = ()
        elif self.is_over:
            ends = self._all_ends()
        else:
            ends = self._covered_ends() if self._has_stop else self._fresh_ends(waiting, start)
        ready = self._tokens[self._released : self._released + len(ends)]
        self._released += len(ends)
        return SpokenTokens(tuple(ready), ends)

    def _hears_words(self) -> bool:
        """Whether the speech has begun: white space alone could be all that precedes a tool call."""
        if not self._has_words:
            self._has_words = len(self._tokens) > _MOST_BLANK or bool(self.text.strip())
        return self._has_words

    def _before_the_end(self, fresh: list[int]) -> list[int]:
        """What of `fresh` comes before the token that ends the speech (`is_over` from then on)."""
        if self.is_over:
            return []
        if self._unspoken_from not in fresh:
            return fresh
        self.is_over = True
        return fresh[: fresh.index(self._unspoken_from)]

    def _covered_ends(self) -> tuple[int, ...]:
        """Ends of the waiting tokens that lie completely within the released text."""
        ends = self._waiting_ends()
        while ends and ends[-1] > self._chars:
            ends.pop()
        return tuple(min(end, self._chars) for end in ends)

    def _all_ends(self) -> tuple[int, ...]:
        """Ends of all waiting tokens: a tool call follows, so no stop string begins in their text."""
        return tuple(min(end, self._chars) for end in self._waiting_ends())

    def _waiting_ends(self) -> list[int]:
        waiting = range(self._released + 1, len(self._tokens) + 1)
        return [len(self._decode(self._tokens[:count])) for count in waiting]

    def _fresh_ends(self, fresh: list[int], before: int) -> tuple[int, ...]:
        """Ends of new tokens whose text starts at `before`. The last token ends with the released text."""
        inner = (before + len(self._decode(fresh[:count])) for count in range(1, len(fresh)))
        return tuple(min(end, self._chars) for end in inner) + ((self._chars,) if fresh else ())
