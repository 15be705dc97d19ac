"""CPU time of processes, from `/proc`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_time_s(processes: Iterable[int]) -> float:
    """User plus system time of all `processes` (ids), in seconds; ended processes count 0."""
    return sum(_ticks(process) for process in processes) / _TICKS_PER_S


def _ticks(process: int) -> int:
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    # The process name, in brackets, may contain spaces and brackets.
    user, system = stat.rpartition(")")[2].split()[11:13]
    return int(user) + int(system)
