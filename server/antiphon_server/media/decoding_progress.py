"""How far the media of one request have been decoded, for a client that waits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class DecodingProgress:
    """Of the parts whose length is known: all `seconds`, those that are decoded, and all `tokens`."""

    seconds: float = 0.0
    decoded_s: float = 0.0
    tokens: int = 0

    def expect(self, seconds: float, tokens: int) -> None:
        """A part has this length."""
        self.seconds += seconds
        self.tokens += tokens

    def add(self, seconds: float) -> None:
        """So much more has been decoded."""
        self.decoded_s = min(self.decoded_s + seconds, self.seconds)
