"""A thousand clients that leave at random moments, in batches; behind each, everything must be free again.

In: a running server. Out: `KillReport`. In every batch some clients stay, and count how their answers end.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median

from tests.chaos.endings import Ending, listen
from tests.chaos.hang_up import HangUp, draw, draw_late, play
from tests.chaos.questions import any_question
from tests.chaos.stillness import stillness_of
from tests.chaos.vitals import Vitals, grown, vitals_of
from tests.e2e.answers import STREAMED
from tests.e2e.recordings import Recordings
from tests.e2e.server_process import RunningServer, becomes

AT_ONCE = 6
VOLLEY = 4
STAYING = 2
WARMING = 2
PROMISED_S = 0.2
GIVEN_UP_S = 20.0


@dataclass
class KillReport:
    """`free_s`: after each batch's last clients, all gone at the same moment, until nothing was held.

    `looks_s`: what it takes to look: no time can be told more finely.
    """

    kills: Counter[str] = field(default_factory=Counter)
    free_s: list[float] = field(default_factory=list)
    looks_s: list[float] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    vitals: list[Vitals] = field(default_factory=list)

    def failures(self, free_within_s: float) -> list[str]:
        found = [f"{name} grew: {how}" for name, how in grown(self.vitals).items()]
        late = [s for s in self.free_s if s > free_within_s]
        if late:
            found.append(f"not free within {free_within_s} s {len(late)} times, {max(late):.2f} s at worst")
        unclear = [ending for ending in self.endings if not ending.is_whole]
        if unclear:
            found.append(f"{len(unclear)} answers of clients who stayed did not end whole: {unclear[0]}")
        return found

    def __str__(self) -> str:
        times = sorted(self.free_s)
        kept = sum(s <= PROMISED_S for s in times)
        middle, high = times[len(times) // 2], times[round(0.99 * (len(times) - 1))]
        first, last = self.vitals[0], self.vitals[-1]
        moments = ", ".join(f"{number} {moment}" for moment, number in sorted(self.kills.items()))
        return "\n".join(
            (
                f"{self.kills.total()} clients left: {moments}",
                f"free again after {middle * 1e3:.0f} ms (median), {high * 1e3:.0f} ms (99th), "
                f"{times[-1] * 1e3:.0f} ms (most); within {PROMISED_S * 1e3:.0f} ms "
                f"{kept} of {len(times)} times; a look takes {median(self.looks_s) * 1e3:.0f} ms",
                f"{len(self.endings)} clients stayed: {sum(e.is_whole for e in self.endings)} whole answers",
                f"descriptors {first.descriptors} → {last.descriptors}, "
                f"threads {first.threads} → {last.threads}, tasks {first.tasks} → {last.tasks}, "
                f"memory {first.memory_mib:.0f} → {last.memory_mib:.0f} MiB",
            )
        )


def kill_clients(
    server: RunningServer, kills: int, batches: int, recordings: Recordings | None, seed: int = 7
) -> KillReport:
    """`kills` in all. Batches before them warm up, media too, and are left out of the report."""
    dice, report = random.Random(seed), KillReport()
    for _ in range(WARMING):
        _batch(server, dice, recordings, 3 * VOLLEY, KillReport())
    for number in range(batches):
        size = kills * (number + 1) // batches - kills * number // batches
        _batch(server, dice, recordings, size, report)
    return report


def _batch(
    server: RunningServer, dice: random.Random, recordings: Recordings | None, size: int, report: KillReport
) -> None:
    leaving = [draw(dice, recordings) for _ in range(size - VOLLEY)]
    questions = [{**any_question(dice, None), **STREAMED} for _ in range(STAYING)]
    with ThreadPoolExecutor(STAYING) as staying, ThreadPoolExecutor(AT_ONCE) as going:
        answers = [staying.submit(listen, server.url, question) for question in questions]
        for done in [going.submit(play, server.port, one) for one in leaving]:
            done.result()
        report.endings += [answer.result() for answer in answers]
    last = [draw_late(dice, recordings) for _ in range(VOLLEY)]
    free_s, look_s = _free_after_volley(server, last)
    report.free_s.append(free_s)
    report.looks_s.append(look_s)
    report.kills.update(one.moment.value for one in [*leaving, *last])
    report.vitals.append(vitals_of(server))


def _free_after_volley(server: RunningServer, last: list[HangUp]) -> tuple[float, float]:
    """They leave together. Seconds until both engines, slots and queues are empty; of a look."""
    left_at: list[float] = []
    together = threading.Barrier(len(last), action=lambda: left_at.append(time.monotonic()))
    with stillness_of(server.port) as stillness:
        with ThreadPoolExecutor(len(last)) as pool:
            for done in [pool.submit(play, server.port, one, together.wait) for one in last]:
                done.result()
        becomes(stillness.is_still, GIVEN_UP_S, every_s=0.002)
        return time.monotonic() - left_at[0], median(stillness.looks_s)
