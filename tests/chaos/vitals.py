"""What a server's processes hold at one moment, and whether that has grown over a run.

In: a running server. Out: `Vitals`, read from outside but for the tasks, which only its event loop can count.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields

import psutil  # type: ignore[import-untyped]

from tests.e2e.server_process import RunningServer

MiB = 1 << 20


@dataclass(frozen=True)
class Vitals:
    """`rss_mib`, `descriptors`, `threads`: of the server and all its processes together. `at_s`: monotonic.

    `swapped_mib`: memory that a busy machine has moved away; with `rss_mib` it is what the processes hold.
    """

    at_s: float
    rss_mib: float
    swapped_mib: float
    descriptors: int
    threads: int
    processes: int
    tasks: int

    @property
    def memory_mib(self) -> float:
        return self.rss_mib + self.swapped_mib


COUNTED = ("descriptors", "threads", "processes", "tasks")


def vitals_of(server: RunningServer) -> Vitals:
    tasks = int(server.metrics()["antiphon_event_loop_tasks", ""])
    rss = swapped = 0
    descriptors = threads = processes = 0
    for process in server.tree():
        with contextlib.suppress(psutil.NoSuchProcess):
            memory = process.memory_full_info()
            rss, swapped = rss + memory.rss, swapped + memory.swap
            descriptors += process.num_fds()
            threads += process.num_threads()
            processes += 1
    return Vitals(time.monotonic(), rss / MiB, swapped / MiB, descriptors, threads, processes, tasks)


def grown(seen: Sequence[Vitals]) -> dict[str, str]:
    """What is higher in all of the last quarter than it ever was in the first, and by how much."""
    quarter = max(1, len(seen) // 4)
    found = {}
    for field in fields(Vitals):
        if field.name in COUNTED:
            first = max(getattr(one, field.name) for one in seen[:quarter])
            last = min(getattr(one, field.name) for one in seen[-quarter:])
            if last > first:
                found[field.name] = f"{first} → {last}"
    return found
