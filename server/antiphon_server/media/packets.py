"""How long a file's tracks really are, from the list of its packets.

In: ffmpeg's framecrc text (one line per packet, nothing decoded). Out: tracks and seconds. A header can
lie about its length; packets that would have to be decoded cannot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

PACKETS_BYTES = 16 << 20

_HEADER = re.compile(rb"^#(tb|media_type) (\d): ([\w/]+)$", re.MULTILINE)
_PACKET = re.compile(rb"^(\d), *-?\d+, *(-?\d+), *(\d+),", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Track:
    """`start` of the first packet and `end` of the last, in seconds; both 0 where there is none."""

    kind: str
    start: Fraction
    end: Fraction


@dataclass(frozen=True, slots=True)
class Packets:
    tracks: tuple[Track, ...]

    def has(self, kind: str) -> bool:
        """Whether there is a track of the kind with at least one packet."""
        return any(track.kind == kind and track.end > track.start for track in self.tracks)

    def start(self, kind: str) -> Fraction:
        """When the kind's first packet begins; 0 where there is none."""
        return min((track.start for track in self.tracks if track.kind == kind), default=Fraction(0))

    def end(self, kind: str) -> Fraction:
        """When the kind's last packet ends; 0 where there is none."""
        return max((track.end for track in self.tracks if track.kind == kind), default=Fraction(0))


def read_packets(text: bytes) -> Packets:
    """Reads framecrc output; lines that are none are passed over."""
    headers = {(int(number), name): value for name, number, value in _HEADER.findall(text)}
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    for number, start, duration in _PACKET.findall(text):
        track, begin = int(number), int(start)
        starts[track] = min(starts.get(track, begin), begin)
        ends[track] = max(ends.get(track, begin), begin + int(duration))
    tracks = []
    for (number, name), kind in headers.items():
        tick = headers.get((number, b"tb"), b"0/0").decode()
        if name == b"media_type" and not tick.endswith("/0"):
            start, end = (ticks.get(number, 0) * Fraction(tick) for ticks in (starts, ends))
            tracks.append(Track(kind.decode(), start, end))
    return Packets(tuple(tracks))
