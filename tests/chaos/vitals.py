"""The resources of a server's processes at one moment, and whether they have grown over a run.

In: a running server. Out: `Vitals`, read from outside; only the number of tasks comes from its event loop.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import mean

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

    `descriptors`, `threads`: of the server and all its processes together, `threads_of`: by the process's
    name and id. `tasks`: of its event loop.
    """

    at_s: float
    held_mib: Mapping[int, float]
    descriptors: int
    threads: int
    tasks: int
    threads_of: Mapping[str, int] = field(default_factory=dict)

    @property
    def processes(self) -> int:
        return len(self.held_mib)

    @property
    def memory_mib(self) -> float:
        return sum(self.held_mib.values())


def vitals_of(server: RunningServer) -> Vitals:
    tasks = int(server.metrics()["antiphon_event_loop_tasks", ""])
    held: dict[int, float] = {}
    threads: dict[str, int] = {}
    descriptors = 0
    for process in server.tree():
        with contextlib.suppress(psutil.Error, OSError):
            mib = _held_mib(process.pid)
            descriptors += process.num_fds()
            threads[f"{process.name()} {process.pid}"] = process.num_threads()
            held[process.pid] = mib
    return Vitals(time.monotonic(), held, descriptors, sum(threads.values()), tasks, threads)


def vitals_at_rest(server: RunningServer) -> Vitals:
    """Of the readings within half a second the one with the fewest tasks, then descriptors, then threads.

    Ending tasks are no growth, and neither is a connection that closes.
    """
    looks = [vitals_of(server)]
    for _ in range(5):
        time.sleep(0.1)
        looks.append(vitals_of(server))
    return min(looks, key=lambda look: (look.tasks, look.descriptors, look.threads))


def grown(seen: Sequence[Vitals]) -> list[Verdict]:
    """Grown: every value of the last quarter is higher than every value of the first.

    Threads must also have become more from each quarter to the next, by their means. Pools start theirs on
    demand up to a bound, so one that fills late is one step, which lies in at most two quarters; a leak goes
    on. This sees one that loses a thread at least every 1.8 quarters of the run, whenever it begins to.
    """
    quarter = max(1, len(seen) // 4)
    verdicts = []
    for name in COUNTED:
        values = [int(getattr(one, name)) for one in seen]
        first, last = values[:quarter], values[-quarter:]
        measured = f"{min(first)}-{max(first)} in the first quarter, {min(last)}-{max(last)} in the last"
        has_grown = min(last) > max(first)
        if name == "threads" and has_grown:
            has_grown, more = _goes_on(values), _more_threads(seen[0], seen[-1])
            measured += f", {'which goes on' if has_grown else 'a step that ended'}: {more}"
        verdicts.append(Verdict(f"{name} do not grow", not has_grown, measured))
    return verdicts


def _goes_on(values: Sequence[int]) -> bool:
    quarter = max(1, len(values) // 4)
    means = [mean(values[at : at + quarter]) for at in range(0, quarter * 4, quarter) if values[at:]]
    return all(before < after for before, after in pairwise(means))


def _more_threads(first: Vitals, last: Vitals) -> str:
    had = first.threads_of
    more = [
        f"{name} {had.get(name, 0)} to {now}"
        for name, now in last.threads_of.items()
        if now > had.get(name, 0)
    ]
    return "; ".join(more) or "by no process that still runs"


def quarters_of(seen: Sequence[Vitals]) -> list[Sequence[Vitals]]:
    """The quarters of a run; one reading each if there are fewer than four."""
    size = max(1, len(seen) // 4)
    return [seen[at : at + size] for at in range(0, size * 4, size) if seen[at : at + size]]


def _held_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    held = [line.split()[1] for line in lines if line.startswith(("RssAnon:", "RssShmem:", "VmSwap:"))]
    return sum(map(int, held)) / KiB_PER_MiB
