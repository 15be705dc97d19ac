"""A file in the private folder that the engines' processes map: which stage needs the cores, or text, now.

Each value has one writer and is 8 aligned bytes, so a reader sees the old value or the new one.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Where the Thinker's connector configuration holds the file's path.
ACTIVITY = "activity"
_BYTES = mmap.PAGESIZE
_CLAIMED_UNTIL, _TALKER_RAN, _SOUND_UNTIL = 0, 1, 2


class StageActivity:
    """Times are monotonic seconds, which are the same in all processes; 0 before the first event."""

    def __init__(self, path: Path) -> None:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(file, _BYTES)
            self._values = memoryview(mmap.mmap(file, _BYTES)).cast("d")
        finally:
            os.close(file)

    @property
    def claimed_until_s(self) -> float:
        """Until then the Talker runs a step that must not be slowed down. A crashed Talker claims no more."""
        return self._values[_CLAIMED_UNTIL]

    @property
    def talker_ran_s(self) -> float:
        """When a step of the Talker last began or ended."""
        return self._values[_TALKER_RAN]

    @property
    def sound_until_s(self) -> float:
        """Until then each client that plays has sound, even if no more is generated."""
        return self._values[_SOUND_UNTIL]

    def sound_lasts(self, until_s: float) -> None:
        """The Talker's: see `sound_until_s`."""
        self._values[_SOUND_UNTIL] = until_s

    def step_began(self, now_s: float, urgent_s: float) -> None:
        """The Talker's: the Thinker waits with its next step, at the longest for `urgent_s`."""
        self._values[_TALKER_RAN] = now_s
        self._values[_CLAIMED_UNTIL] = now_s + urgent_s

    def step_ended(self, now_s: float) -> None:
        """The Talker's: nothing is claimed any more."""
        self._values[_CLAIMED_UNTIL] = 0.0
        self._values[_TALKER_RAN] = now_s


def activity_of(connector_config: Mapping[str, Any] | None) -> StageActivity | None:
    """The Thinker's; None without a Talker, and for stages that share no cores."""
    path = (connector_config or {}).get(ACTIVITY)
    return StageActivity(Path(path)) if path else None
