"""What the operator sets of the Talker's worker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TalkerLimits:
    """What the operator sets: streams at once, frames of one, media rows of all."""

    slots: int
    max_frames: int
    media_rows: int
