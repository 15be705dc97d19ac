"""What the turns that run hold, against what there is.

In: prices taken, changed and given back. Out: whether another fits. Pure, and exact: what was taken is what
comes back, in whatever order.
"""

from __future__ import annotations

from antiphon_server.admission.capacity import Capacity, Price


class ResourceTracker:
    """One a door. An answer that outgrows its price may hold more than there is; nobody starts on it then."""

    def __init__(self, whole: Price) -> None:
        self.whole = whole
        self.held = Price()

    def thinker_fits(self, price: Price) -> bool:
        """Whether the part that writes finds its place. A price of nothing always does."""
        held, whole = self.held, self.whole
        return _fits(price.sequences, held.sequences, whole.sequences) and _fits(
            price.thinker_blocks, held.thinker_blocks, whole.thinker_blocks
        )

    def talker_fits(self, price: Price) -> bool:
        """Whether the part that speaks finds its place."""
        held, whole = self.held, self.whole
        return _fits(price.streams, held.streams, whole.streams) and _fits(
            price.talker_blocks, held.talker_blocks, whole.talker_blocks
        )

    def change(self, before: Price, after: Price) -> None:
        """A turn that held `before` holds `after` from now on."""
        self.held = self.held - before + after


def whole_of(capacity: Capacity) -> Price:
    """All there is. Nothing bounds `live` but time."""
    thinker, talker = capacity.engines.thinker, capacity.engines.talker
    return Price(
        sequences=capacity.sequences,
        thinker_blocks=thinker.blocks if thinker else 0,
        streams=capacity.streams,
        live=capacity.streams,
        talker_blocks=talker.blocks if talker else 0,
    )


def _fits(wanted: int, held: int, whole: int) -> bool:
    return not wanted or held + wanted <= whole
