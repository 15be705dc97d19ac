"""Engines killed and stopped at random moments below a server that speaks: it must always come back.

In: a running server, and which process is which stage. Out: `DeathReport`.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import psutil  # type: ignore[import-untyped]

from tests.chaos.endings import Ending, listen
from tests.chaos.questions import LASTING, WRITTEN
from tests.chaos.vitals import Vitals, grown, vitals_of
from tests.e2e.answers import STREAMED, said
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
    """`back_s`: from the blow to a server of which everything works. `endings`: of streams that were hit."""

    blows: Counter[str] = field(default_factory=Counter)
    back_s: list[float] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    afterwards: list[Ending] = field(default_factory=list)
    vitals: list[Vitals] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)

    def failures(self) -> list[str]:
        found = [f"{name} grew: {how}" for name, how in grown(self.vitals).items()]
        unclear = [ending for ending in self.endings if not ending.is_one]
        if unclear:
            found.append(f"{len(unclear)} streams without exactly one terminal event: {unclear[0]}")
        mute = [ending for ending in self.afterwards if not ending.is_whole]
        if mute:
            found.append(f"{len(mute)} times it did not answer after it was back: {mute[0]}")
        return [*found, *(f"left behind: {orphan}" for orphan in self.orphans)]

    def __str__(self) -> str:
        times = sorted(self.back_s)
        errors = sum(ending.errors for ending in self.endings)
        return "\n".join(
            (
                f"{self.blows.total()} blows: "
                + ", ".join(f"{number} {blow}" for blow, number in sorted(self.blows.items())),
                f"{len(self.endings)} streams were on: {errors} ended with one error event, "
                f"{sum(e.is_whole for e in self.endings)} whole, "
                f"{sum(not e.is_one for e in self.endings)} otherwise",
                f"all works again after {times[len(times) // 2]:.1f} s (median), {times[-1]:.1f} s (most)",
            )
        )


def kill_engines(server: RunningServer, rounds: int, victim: Victim, seed: int = 11) -> DeathReport:
    """Thinker and Talker, SIGKILL and SIGSTOP in turn; the moment is drawn."""
    dice, report = random.Random(seed), DeathReport()
    for number in range(rounds):
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


def _restarts(server: RunningServer, stage: str) -> float:
    return server.metrics().get(("antiphon_engine_restarts_total", stage), 0.0)


def _works(server: RunningServer) -> bool:
    return bool(server.get("/readyz").json()["works"] == ["text", "speech"])


def _is_over(process: psutil.Process) -> bool:
    """Gone, or a zombie, whose parent has not looked yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
