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
    """`ticks`: end of the last packet in units of `tick_s`."""

    kind: str
    tick_s: Fraction
    ticks: int


@dataclass(frozen=True, slots=True)
class Packets:
    tracks: tuple[Track, ...]

    def has(self, kind: str) -> bool:
        """Whether there is a track of the kind with at least one packet."""
        return any(track.kind == kind and track.ticks > 0 for track in self.tracks)

    def length(self, kind: str) -> Fraction:
        """Seconds until the end of the kind's last packet; 0 where there is none."""
        ends = (track.ticks * track.tick_s for track in self.tracks if track.kind == kind)
        return max(ends, default=Fraction(0))

    def seconds(self, kind: str) -> float:
        return float(self.length(kind))


def read_packets(text: bytes) -> Packets:
    """Reads framecrc output; lines that are none are passed over."""
    headers = {(int(number), name): value for name, number, value in _HEADER.findall(text)}
    ends: dict[int, int] = {}
    for number, start, duration in _PACKET.findall(text):
        end = int(start) + int(duration)
        ends[int(number)] = max(ends.get(int(number), 0), end)
    tracks = []
    for (number, name), kind in headers.items():
        tick = headers.get((number, b"tb"), b"0/1")
        if name == b"media_type" and not tick.endswith(b"/0"):
            tracks.append(Track(kind.decode(), Fraction(tick.decode()), ends.get(number, 0)))
    return Packets(tuple(tracks))
