"""What this machine has: usable cores, usable memory, NVIDIA GPUs."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_NVIDIA_SMI_S = 10
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True, slots=True)
class Gpu:
    """`memory_bytes`: None if the driver does not say, as for memory shared with the CPU."""

    name: str
    memory_bytes: int | None
    driver: str


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
    """As `nvidia-smi` lists them; empty without it."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=_NVIDIA_SMI_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.rsplit(", ", 2) for line in answer.stdout.splitlines() if line.count(", ") >= 2]
    return [
        Gpu(name, int(mebibytes) << 20 if mebibytes.isdigit() else None, driver)
        for name, mebibytes, driver in rows
    ]
