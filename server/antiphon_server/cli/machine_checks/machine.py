"""What this machine has: usable cores, usable memory, NVIDIA GPUs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_NVIDIA_SMI_S = 10.0
# Old drivers do not know the last one, and refuse the whole question.
_FIELDS = ("name", "memory.total", "driver_version", "compute_cap")
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class DriverHangs(Exception):
    """There is a driver, and it does not answer."""

    def __init__(self) -> None:
        super().__init__(f"nvidia-smi has not answered within {_NVIDIA_SMI_S:g} s")


@dataclass(frozen=True, slots=True)
class Gpu:
    """What the driver does not say is None: `memory_bytes` if it is shared with the CPU, `capability`."""

    name: str
    memory_bytes: int | None
    driver: str
    capability: tuple[int, int] | None = None

    @property
    def driver_release(self) -> int | None:
        """580 of driver 580.65.06."""
        release = self.driver.partition(".")[0]
        return int(release) if release.isdigit() else None


def usable_cores() -> int:
    return len(os.sched_getaffinity(0))


def usable_memory_bytes() -> int:
    """The machine's memory, or the container's limit if that is lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in _CGROUP_LIMITS:
        try:
            return min(total, int(Path(file).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return total


def find_gpus() -> list[Gpu]:
    """As `nvidia-smi` lists them; empty without it. Raises `DriverHangs`."""
    rows = _ask_driver(_FIELDS) or [[*row, ""] for row in _ask_driver(_FIELDS[:-1])]
    return [
        Gpu(name, int(mebibytes) << 20 if mebibytes.isdigit() else None, driver, _capability(computes))
        for name, mebibytes, driver, computes in rows
    ]


def _ask_driver(fields: Sequence[str]) -> list[list[str]]:
    """A row of each GPU; none if the driver is missing or does not know a field."""
    query = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        asked = subprocess.Popen(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except OSError:
        return []
    try:
        answer, _ = asked.communicate(timeout=_NVIDIA_SMI_S)
    except subprocess.TimeoutExpired:
        # Not waited for: a process that waits for a broken driver cannot end.
        asked.kill()
        raise DriverHangs from None
    if asked.returncode:
        return []
    rows = [line.rsplit(", ", len(fields) - 1) for line in answer.splitlines()]
    return [row for row in rows if len(row) == len(fields)]


def _capability(text: str) -> tuple[int, int] | None:
    major, _, minor = text.strip().partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None
