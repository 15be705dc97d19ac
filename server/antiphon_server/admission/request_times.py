"""How long turns take, speech and text apart, and so when the next place comes free.

In: requests that have ended. Out: estimates in seconds. Pure. A client that leaves early says nothing of how
long answers take, unless it has stayed for longer than they usually do.
"""

from __future__ import annotations

_FIRST_GUESS_S = 2.0
_WEIGHT = 0.2
_SHORTEST_RETRY_S = 0.5
_LONGEST_RETRY_S = 60.0


class RequestTimes:
    """Exponentially weighted means, over turns from their start to their end."""

    def __init__(self) -> None:
        self._typical_s = {True: _FIRST_GUESS_S, False: _FIRST_GUESS_S}

    def took(self, speaks: bool, seconds: float) -> None:
        """A whole answer took `seconds`."""
        self._typical_s[speaks] += _WEIGHT * (seconds - self._typical_s[speaks])

    def took_at_least(self, speaks: bool, seconds: float) -> None:
        """An answer was ended after `seconds`, and would have taken longer."""
        self.took(speaks, max(seconds, self._typical_s[speaks]))

    def start_in_s(self, speaks: bool, ahead: int, places: int) -> float:
        """When a turn with `ahead` others before it starts, where `places` turns run at once."""
        return self._typical_s[speaks] * (ahead + 1) / max(places, 1)

    def retry_after_s(self, speaks: bool, ahead: int, places: int) -> float:
        """The same, as a client is told."""
        return bounded_retry_s(self.start_in_s(speaks, ahead, places))


def bounded_retry_s(seconds: float) -> float:
    """Neither at once again nor never."""
    return min(max(seconds, _SHORTEST_RETRY_S), _LONGEST_RETRY_S)
