"""Simulates the Talker's scheduling of random workloads: deadlines against first come, first served.

It prints a table and the possible workloads in which deadlines had an underrun. A workload is "possible" if a
bound on clairvoyant schedules does not rule it out; otherwise it is overload.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from tests.talker.clairvoyant import could_be_clean
from tests.talker.simulated_talker import DeadlineSchedule, Fate, Schedule, simulate
from tests.talker.workloads import Workload, draw_workload

SCHEDULES = ("fifo", "fifo, tuned", "deadline")


@dataclass(frozen=True)
class Outcome:
    """One workload under each schedule, in the order of `SCHEDULES`."""

    seed: int
    possible: bool
    fates: tuple[list[Fate], ...]


def try_all(seed: int) -> Outcome:
    """`fifo` runs one stream per slot; `tuned` as many streams as the machine can serve in real time."""
    work = draw_workload(seed)
    tuned = Schedule(work, _tuned_limit(work))
    schedules = (Schedule(work), tuned, DeadlineSchedule(work))
    return Outcome(seed, could_be_clean(work), tuple(simulate(work, schedule) for schedule in schedules))


def _tuned_limit(work: Workload) -> int:
    return max(min(work.machine.slots, work.machine.real_time_streams), 1)


def count(fates: Iterable[Fate]) -> Counter[str]:
    """The number of live streams by outcome."""
    found: Counter[str] = Counter()
    for fate in fates:
        if fate.live:
            found.update(streams=1, clean=fate.clean, underruns=fate.stuttered, late=fate.late)
            found["dry_ms"] += round(fate.underrun_s * 1000)
    return found


def table(outcomes: list[Outcome], title: str) -> list[str]:
    lines = [f"{title}: {len(outcomes)} workloads"]
    lines.append(
        f"  {'':12} {'streams':>8} {'clean':>8} {'underrun':>8} {'late':>8} {'under, s':>8} {'in loads':>8}"
    )
    for number, name in enumerate(SCHEDULES):
        total = sum((count(one.fates[number]) for one in outcomes), Counter[str]())
        dry_in = sum(any(fate.stuttered for fate in one.fates[number]) for one in outcomes)
        cells = [
            total["streams"],
            total["clean"],
            total["underruns"],
            total["late"],
            total["dry_ms"] // 1000,
            dry_in,
        ]
        lines.append(f"  {name:12} " + " ".join(f"{cell:8d}" for cell in cells))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workloads", type=int, default=10_000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    began = time.monotonic()
    seeds = range(given.first_seed, given.first_seed + given.workloads)
    with ProcessPoolExecutor(given.processes) as pool:
        outcomes = list(pool.map(try_all, seeds, chunksize=50))
    possible = [one for one in outcomes if one.possible]
    overload = [one for one in outcomes if not one.possible]
    print("\n".join(table(possible, "possible") + table(overload, "overload")))
    print("clean: started in time, no underrun; in loads: workloads with an underrun")
    exceptions = [one.seed for one in possible if any(fate.stuttered for fate in one.fates[-1])]
    print(f"possible, but an underrun with deadlines: {len(exceptions)} {exceptions[:50]}")
    print(f"{given.workloads} workloads in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
