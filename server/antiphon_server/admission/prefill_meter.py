"""How many prompt tokens are not read yet, and how fast the Thinker reads.

In: prompts as they come, start and are read. Out: the time that all of them will take. Pure: told the time.
"""

from __future__ import annotations

# Below this a prompt's time is that of a step, whatever its length.
_TELLING_TOKENS = 256
_WEIGHT = 0.2


class PrefillMeter:
    """One a Thinker. It reads first come, first served, so prompts' times do not overlap."""

    def __init__(self) -> None:
        self.tokens = 0
        self.rate = 0.0
        self._free_at_s = 0.0

    def add(self, tokens: int) -> None:
        """A prompt waits, or is being read."""
        self.tokens += tokens

    def remove(self, tokens: int) -> None:
        """It has been read, or never will be."""
        self.tokens -= tokens

    def measured(self, started_s: float, now_s: float, computed_tokens: int) -> None:
        """A prompt has been read. `computed_tokens`: those that no cache had."""
        seconds = now_s - max(started_s, self._free_at_s)
        if computed_tokens < _TELLING_TOKENS or seconds <= 0:
            return
        self._free_at_s = now_s
        rate = computed_tokens / seconds
        self.rate += (rate - self.rate) * (_WEIGHT if self.rate else 1.0)

    def over_s(self, tokens: int, limit_s: float, limit_tokens: int) -> float | None:
        """When `tokens` more would keep within both limits (0: none), in seconds; 0.0 where they do now.

        A prompt that waits for no other is within them, whatever its length. None: nobody knows the rate.
        """
        room = min(
            self.rate * limit_s if limit_s and self.rate else float("inf"),
            limit_tokens or float("inf"),
        )
        too_many = min(self.tokens + tokens - room, self.tokens)
        if too_many <= 0:
            return 0.0
        return too_many / self.rate if self.rate else None
