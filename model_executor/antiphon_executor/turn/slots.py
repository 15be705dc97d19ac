"""Which Talker slots and how many media pages are free, as the server knows it.

A lease is taken before the Thinker starts, so that a stream once promised always finds its slot.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from antiphon_executor.interface.errors import EngineBusy

RETRY_AFTER_S = 1.0


class SlotTracker:
    """Slots 1 to `slots`; `pages` of the media arena shared by all of them."""

    def __init__(self, slots: int, pages: int) -> None:
        self.total = slots
        self._free = list(range(slots, 0, -1))
        self._free_pages = pages

    @property
    def used(self) -> int:
        return self.total - len(self._free)

    @contextmanager
    def lease(self) -> Iterator[int]:
        """A slot of one's own. Raises `EngineBusy` at once where none is free."""
        if not self._free:
            raise EngineBusy(f"all {self.total} speech streams are taken", RETRY_AFTER_S)
        slot = self._free.pop()
        try:
            yield slot
        finally:
            self._free.append(slot)

    @contextmanager
    def lease_pages(self, pages: int) -> Iterator[None]:
        """Room for a stream's media rows. Raises `EngineBusy` where there is none."""
        if pages > self._free_pages:
            raise EngineBusy("no room for the media of another spoken answer", RETRY_AFTER_S)
        self._free_pages -= pages
        try:
            yield
        finally:
            self._free_pages += pages
