"""Engines killed and stopped at random moments while the server speaks: it must always recover.

In: a running server, and the process of each stage. Out: `DeathReport`.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median

import psutil  # type: ignore[import-untyped]

from tests.chaos.endings import Ending, listen
from tests.chaos.questions import LASTING, STREAMED, WRITTEN
from tests.chaos.verdict import Verdict
from tests.chaos.vitals import Vitals, grown, vitals_of
from tests.e2e.answers import said
from tests.e2e.server_process import MODEL, RunningServer, becomes

Victim = Callable[[RunningServer, str], psutil.Process]

STAGES = ("thinker", "talker")
WEAPONS = (signal.SIGKILL, signal.SIGSTOP)
LISTENERS = 3
BACK_WITHIN_S = 240.0
SPOKEN = {"model": MODEL, "messages": said("Speak."), **STREAMED, **LASTING}
WRITTEN_OUT = {"model": MODEL, "messages": said("Write."), **WRITTEN, **LASTING, "max_tokens": 80}
SHORT = {"model": MODEL, "messages": said("Still there?"), **STREAMED, "max_tokens": 8, "seed": 1}


@dataclass
class DeathReport:
    """`wanted`: number of kills. `back_s`: from a kill until everything works again.

    `endings`: of the streams that ran at that time.
    """

    wanted: int
    blows: Counter[str] = field(default_factory=Counter)
    back_s: list[float] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    afterwards: list[Ending] = field(default_factory=list)
    vitals: list[Vitals] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)

    def verdicts(self) -> list[Verdict]:
        one, whole = _number(self.endings, "is_one"), _number(self.endings, "is_whole")
        unclear = next((f"; {ending}" for ending in self.endings if not ending.is_one), "")
        answered, times = _number(self.afterwards, "is_whole"), sorted(self.back_s)
        blows, rounds = self.blows.total(), len(times)
        return [
            Verdict(
                "engines die and come back",
                rounds == blows == self.wanted,
                f"{rounds} of {self.wanted}; all works again after {median(times or [0]):.1f} s (median), "
                f"{times[-1] if times else 0:.1f} s at most",
            ),
            Verdict(
                "each stream ends once",
                one == len(self.endings),
                f"{one} of {len(self.endings)}: {one - whole} with an error, {whole} whole{unclear}",
            ),
            Verdict(
                "the server answers afterwards",
                answered == len(self.afterwards),
                f"{answered} of {len(self.afterwards)}",
            ),
            Verdict("no process is left behind", not self.orphans, ", ".join(self.orphans) or "none"),
            *grown(self.vitals),
        ]

    def __str__(self) -> str:
        blows = ", ".join(f"{number} {blow}" for blow, number in sorted(self.blows.items()))
        return f"{self.blows.total()} blows: {blows}"


def kill_engines(
    server: RunningServer, rounds: int, victim: Victim, *, within_s: float = 3600.0, seed: int = 11
) -> DeathReport:
    """Alternates Thinker and Talker, SIGKILL and SIGSTOP, at random moments. Fewer if the time is up."""
    dice, report = random.Random(seed), DeathReport(rounds)
    until = time.monotonic() + within_s
    for number in range(rounds):
        if report.blows and time.monotonic() > until:
            break
        stage, weapon = STAGES[number % 2], WEAPONS[number // 2 % 2]
        _round(server, victim, stage, weapon, dice.uniform(0, 1.0), report)
        report.blows[f"{weapon.name} {stage}"] += 1
    return report


def _round(
    server: RunningServer,
    victim: Victim,
    stage: str,
    weapon: signal.Signals,
    after_s: float,
    report: DeathReport,
) -> None:
    with ThreadPoolExecutor(LISTENERS) as pool:
        bodies = [SPOKEN, SPOKEN, WRITTEN_OUT]
        answers = [pool.submit(listen, server.url, body) for body in bodies]
        time.sleep(after_s)
        hit = victim(server, stage)
        restarts = _restarts(server, stage)
        began = time.monotonic()
        hit.send_signal(weapon)
        report.endings += [answer.result() for answer in answers]
    assert becomes(
        lambda: _restarts(server, stage) > restarts and _works(server), BACK_WITHIN_S, every_s=0.05
    ), f"{weapon.name} {stage}: it did not come back: {server.said()}"
    report.back_s.append(time.monotonic() - began)
    report.afterwards.append(listen(server.url, SHORT))
    assert becomes(server.is_idle, 10), server.metrics()
    if not becomes(lambda: _is_over(hit), 10):
        report.orphans.append(f"process {hit.pid} of the {stage} after {weapon.name}")
    report.vitals.append(vitals_of(server))


def _number(endings: list[Ending], of: str) -> int:
    return sum(getattr(ending, of) for ending in endings)


def _restarts(server: RunningServer, stage: str) -> float:
    return server.metrics().get(("antiphon_engine_restarts_total", stage), 0.0)


def _works(server: RunningServer) -> bool:
    return bool(server.get("/readyz").json()["works"] == ["text", "speech"])


def _is_over(process: psutil.Process) -> bool:
    """The process has ended, or is a zombie that its parent has not reaped yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
