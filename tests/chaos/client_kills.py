"""A thousand clients that disconnect at random moments, in batches; after each batch everything must be free.

In: a running server. Out: `KillReport`. In every batch some clients stay, and count how their answers end.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import mean, median

from tests.chaos.endings import Ending, listen
from tests.chaos.hang_up import HangUp, draw, draw_late, play
from tests.chaos.questions import STREAMED, any_question
from tests.chaos.stillness import stillness_of
from tests.chaos.verdict import Verdict
from tests.chaos.vitals import Vitals, grown, quarters_of, vitals_at_rest
from tests.e2e.recordings import Recordings
from tests.e2e.server_process import RunningServer, becomes

AT_ONCE = 12
VOLLEY = 4
STAYING = 2
WARMING = 2
MOST_MIB = 16
GIVEN_UP_S = 20.0
SLOWEST = 8


@dataclass
class KillReport:
    """`free_s`: for each batch, from its last disconnects (simultaneous) until nothing is held;
    `volleys`: the requests of those clients, and the moments at which they left.

    `looks_s`: duration of one reading of `/metrics`, which is the resolution of these times.
    """

    wanted: int
    kills: Counter[str] = field(default_factory=Counter)
    free_s: list[float] = field(default_factory=list)
    volleys: list[str] = field(default_factory=list)
    looks_s: list[float] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    vitals: list[Vitals] = field(default_factory=list)

    def verdicts(self, free_within_s: float) -> list[Verdict]:
        times, whole = sorted(self.free_s), sum(ending.is_whole for ending in self.endings)
        memory = [mean(one.memory_mib for one in part) for part in quarters_of(self.vitals)]
        unclear = next((f"; {ending}" for ending in self.endings if not ending.is_whole), "")
        return [
            Verdict(
                "clients leave", self.kills.total() == self.wanted, f"{self.kills.total()} of {self.wanted}"
            ),
            Verdict(
                f"nothing is held {free_within_s * 1e3:.0f} ms later",
                times[-1] <= free_within_s,
                f"{times[-1] * 1e3:.0f} ms at most, {median(times) * 1e3:.0f} ms (median) of {len(times)}, "
                f"late {sum(s > free_within_s for s in times)} times",
            ),
            Verdict(
                "clients that stay get a whole answer",
                whole == len(self.endings),
                f"{whole} of {len(self.endings)}{unclear}",
            ),
            *grown(self.vitals),
            Verdict(
                "memory has stopped growing",
                memory[-1] - memory[-2:][0] < MOST_MIB,
                f"by quarter {' '.join(f'{mib:.0f}' for mib in memory)} MiB, at last at most {MOST_MIB} more",
            ),
        ]

    def __str__(self) -> str:
        moments = ", ".join(f"{number} {moment}" for moment, number in sorted(self.kills.items()))
        slowest = sorted(zip(self.free_s, self.volleys, strict=True), reverse=True)[:SLOWEST]
        return "\n".join(
            (
                f"{self.kills.total()} clients left: {moments}; "
                f"a look for what is held takes {median(self.looks_s) * 1e3:.0f} ms",
                *(f"free after {free_s * 1e3:4.0f} ms: {volley}" for free_s, volley in slowest),
            )
        )


def kill_clients(
    server: RunningServer,
    kills: int,
    batches: int,
    recordings: Recordings | None,
    *,
    within_s: float = 3600.0,
    seed: int = 7,
) -> KillReport:
    """Disconnects `kills` clients, or fewer if the time is up. Warm-up batches are not counted."""
    dice, report = random.Random(seed), KillReport(kills)
    until = time.monotonic() + within_s
    for _ in range(WARMING):
        _batch(server, dice, recordings, 3 * VOLLEY, KillReport(0))
    for number in range(batches):
        if report.vitals and time.monotonic() > until:
            break
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
    report.volleys.append(", ".join(map(str, last)))
    report.looks_s.append(look_s)
    report.kills.update(one.moment.value for one in [*leaving, *last])
    report.vitals.append(vitals_at_rest(server))


def _free_after_volley(server: RunningServer, last: list[HangUp]) -> tuple[float, float]:
    """The clients leave together. Returns the seconds until nothing is held, and of a reading."""
    left_at: list[float] = []
    together = threading.Barrier(len(last), action=lambda: left_at.append(time.monotonic()))
    with stillness_of(server.port) as stillness:
        with ThreadPoolExecutor(len(last)) as pool:
            for done in [pool.submit(play, server.port, one, together.wait) for one in last]:
                done.result()
        becomes(stillness.is_still, GIVEN_UP_S, every_s=0.002)
        return time.monotonic() - left_at[0], median(stillness.looks_s)
