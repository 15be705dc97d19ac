"""The resources that running requests share: sequences, speech streams, and KV blocks of both engines."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon_server.admission.capacity import Capacity


@dataclass(frozen=True, slots=True)
class Resources:
    """What a request holds while it runs. `live`: 1 if a client plays its speech while it is generated."""

    sequences: int = 0
    thinker_blocks: int = 0
    streams: int = 0
    live: int = 0
    talker_blocks: int = 0

    @property
    def speech_part(self) -> Resources:
        """What a request still holds after its text is complete."""
        return Resources(streams=self.streams, live=self.live, talker_blocks=self.talker_blocks)

    def is_less_somewhere(self, other: Resources) -> bool:
        """Whether at least one resource is smaller than in `other`."""
        return (
            self.sequences < other.sequences
            or self.thinker_blocks < other.thinker_blocks
            or self.streams < other.streams
            or self.live < other.live
            or self.talker_blocks < other.talker_blocks
        )

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            self.sequences + other.sequences,
            self.thinker_blocks + other.thinker_blocks,
            self.streams + other.streams,
            self.live + other.live,
            self.talker_blocks + other.talker_blocks,
        )

    def __sub__(self, other: Resources) -> Resources:
        return Resources(
            self.sequences - other.sequences,
            self.thinker_blocks - other.thinker_blocks,
            self.streams - other.streams,
            self.live - other.live,
            self.talker_blocks - other.talker_blocks,
        )


class ResourceTracker:
    """What all running requests hold, of `total`.

    An answer that outgrows its estimate may take `held` above `total`. Nothing starts on that resource then.
    """

    def __init__(self, capacity: Capacity) -> None:
        self.total = total_of(capacity)
        self.held = Resources()

    @property
    def sequences_are_full(self) -> bool:
        """Whether no request at all can start: each takes a sequence."""
        return self.held.sequences >= self.total.sequences

    @property
    def streams_are_full(self) -> bool:
        return self.held.streams >= self.total.streams

    def thinker_fits(self, wanted: Resources) -> bool:
        """Whether the Thinker has room for `wanted`. A resource of which nothing is wanted always fits."""
        held, total = self.held, self.total
        return _fits(wanted.sequences, held.sequences, total.sequences) and _fits(
            wanted.thinker_blocks, held.thinker_blocks, total.thinker_blocks
        )

    def talker_fits(self, wanted: Resources) -> bool:
        """Whether the Talker has room for `wanted`."""
        held, total = self.held, self.total
        return _fits(wanted.streams, held.streams, total.streams) and _fits(
            wanted.talker_blocks, held.talker_blocks, total.talker_blocks
        )

    def replace(self, before: Resources, after: Resources) -> None:
        """A request that held `before` holds `after` from now on."""
        self.held = self.held - before + after


def total_of(capacity: Capacity) -> Resources:
    """All that the engines have. `live` is bounded by the Talker's speed, not by this figure."""
    thinker, talker = capacity.engines.thinker, capacity.engines.talker
    return Resources(
        sequences=capacity.sequences,
        thinker_blocks=thinker.blocks if thinker else 0,
        streams=capacity.streams,
        live=capacity.streams,
        talker_blocks=talker.blocks if talker else 0,
    )


def _fits(wanted: int, held: int, total: int) -> bool:
    return not wanted or held + wanted <= total
