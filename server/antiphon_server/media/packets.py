"""How long a file's tracks really are, from the list of its packets.

In: ffmpeg's framecrc text (one line per packet, nothing decoded). Out: tracks and seconds. A header can
lie about its length; packets that would have to be decoded cannot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

PACKETS_BYTES = 8 << 20

_KIND = re.compile(rb"^#media_type (\d): (\w+)$", re.MULTILINE)
_TICK = re.compile(rb"^#tb (\d): (\d{1,12}/[1-9]\d{0,11})$", re.MULTILINE)
_PACKET = re.compile(rb"^(\d), *-?\d+, *(-?\d{1,18}), *(\d{1,18}),", re.MULTILINE)


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
    ticks = {int(number): Fraction(tick.decode()) for number, tick in _TICK.findall(text)}
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    # Not `findall`: that would hold the interpreter's lock over the whole text.
    for packet in _PACKET.finditer(text):
        track, begin, duration = map(int, packet.groups())
        starts[track] = min(starts.get(track, begin), begin)
        ends[track] = max(ends.get(track, begin), begin + duration)
    tracks = []
    for name, kind in _KIND.findall(text):
        number, tick = int(name), ticks.get(int(name), Fraction(0))
        start, end = (moments.get(number, 0) * tick for moments in (starts, ends))
        tracks.append(Track(kind.decode(), start, end))
    return Packets(tuple(tracks))
