"""The resources of a server's processes at one moment, and whether they have grown over a run.

In: a running server. Out: `Vitals`, read from outside; only the number of tasks comes from its event loop.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.chaos.verdict import Verdict
from tests.e2e.server_process import RunningServer

KiB_PER_MiB = 1024
# vLLM and torch cache what they compile for a batch size or prompt length, up to this number: few enough for
# the warm-up, and as many as 8 streams in float32 need.
FEW_COMPILED = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128"}
COUNTED = ("descriptors", "threads", "processes", "tasks")


@dataclass(frozen=True)
class Vitals:
    """`held_mib`: by process id, memory without pages of files. `at_s`: monotonic.

    `descriptors`, `threads`: of the server and all its processes together. `tasks`: of its event loop.
    """

    at_s: float
    held_mib: Mapping[int, float]
    descriptors: int
    threads: int
    tasks: int

    @property
    def processes(self) -> int:
        return len(self.held_mib)

    @property
    def memory_mib(self) -> float:
        return sum(self.held_mib.values())


def vitals_of(server: RunningServer) -> Vitals:
    tasks = int(server.metrics()["antiphon_event_loop_tasks", ""])
    held: dict[int, float] = {}
    descriptors = threads = 0
    for process in server.tree():
        with contextlib.suppress(psutil.Error, OSError):
            mib = _held_mib(process.pid)
            descriptors += process.num_fds()
            threads += process.num_threads()
            held[process.pid] = mib
    return Vitals(time.monotonic(), held, descriptors, threads, tasks)


def vitals_at_rest(server: RunningServer) -> Vitals:
    """Of the readings within half a second the one with the fewest tasks, then descriptors.

    Ending tasks are no growth, and neither is a connection that closes.
    """
    looks = [vitals_of(server)]
    for _ in range(5):
        time.sleep(0.1)
        looks.append(vitals_of(server))
    return min(looks, key=lambda look: (look.tasks, look.descriptors))


def grown(seen: Sequence[Vitals]) -> list[Verdict]:
    """Grown: every value of the last quarter is higher than every value of the first."""
    quarter = max(1, len(seen) // 4)
    verdicts = []
    for name in COUNTED:
        values = [int(getattr(one, name)) for one in seen]
        first, last = values[:quarter], values[-quarter:]
        measured = f"{min(first)}-{max(first)} in the first quarter, {min(last)}-{max(last)} in the last"
        verdicts.append(Verdict(f"{name} do not grow", min(last) <= max(first), measured))
    return verdicts


def quarters_of(seen: Sequence[Vitals]) -> list[Sequence[Vitals]]:
    """The quarters of a run; one reading each if there are fewer than four."""
    size = max(1, len(seen) // 4)
    return [seen[at : at + size] for at in range(0, size * 4, size) if seen[at : at + size]]


def _held_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    held = [line.split()[1] for line in lines if line.startswith(("RssAnon:", "RssShmem:", "VmSwap:"))]
    return sum(map(int, held)) / KiB_PER_MiB
