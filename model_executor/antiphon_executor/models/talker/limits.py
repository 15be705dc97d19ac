"""The limits that the operator sets for the Talker's worker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TalkerLimits:
    """`slots`: concurrent streams; `max_frames`: of one stream; `media_rows`: prompt embeddings of all."""

    slots: int
    max_frames: int
    media_rows: int
