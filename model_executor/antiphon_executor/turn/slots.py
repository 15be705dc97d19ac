"""Free Talker slots and free pages of multimodal hidden states, as the server tracks them.

A slot is leased before the Thinker starts, so an accepted request always has one when its speech begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from antiphon_executor.interface.errors import EngineBusy

RETRY_AFTER_S = 1.0


class SlotTracker:
    """Slots 1 to `slots`, and `pages` of the multimodal hidden states that all of them share."""

    def __init__(self, slots: int, pages: int) -> None:
        self.total = slots
        self._free = list(range(slots, 0, -1))
        self._free_pages = pages

    @property
    def used(self) -> int:
        return self.total - len(self._free)

    @contextmanager
    def lease_slot(self) -> Iterator[int]:
        """Leases one slot. Raises `EngineBusy` immediately if none is free."""
        if not self._free:
            raise EngineBusy(f"all {self.total} speech streams are in use", RETRY_AFTER_S)
        slot = self._free.pop()
        try:
            yield slot
        finally:
            self._free.append(slot)

    @contextmanager
    def lease_pages(self, pages: int) -> Iterator[None]:
        """Leases pages for a stream's multimodal hidden states. Raises `EngineBusy` if too few are free."""
        if pages > self._free_pages:
            raise EngineBusy("there is no room for the media of another spoken answer", RETRY_AFTER_S)
        self._free_pages -= pages
        try:
            yield
        finally:
            self._free_pages += pages
