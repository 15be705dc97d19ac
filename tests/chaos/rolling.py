"""A rolling change of two servers behind nginx under load, in which no request may fail. And a crash.

`make rolling` runs it on antiphon-nano with 500 requests, spoken ones included.
"""

from __future__ import annotations

import argparse
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from antiphon_executor.shipped import ANTIPHON_NANO
from tests.chaos.endings import Ending, listen
from tests.chaos.proxy import behind_nginx
from tests.chaos.questions import STREAMED
from tests.chaos.verdict import Verdict, broken
from tests.e2e.answers import said
from tests.e2e.server_process import MODEL, RunningServer, becomes, serving, terminate

_CALLERS = 2
_LONGEST_S = 3_600.0
_DRAINS_S = 150.0
# Of every four requests one is spoken.
_SPOKEN_EVERY = 4
_WRITTEN = {"model": MODEL, "messages": said("Say something."), "stream": True, "max_tokens": 24}
_SPOKEN = {"model": MODEL, "messages": said("Say something."), **STREAMED, "max_tokens": 12}


@dataclass
class RollingReport:
    """`codes`: exit codes of the replaced servers. `while_one_was_away`: answers that ended then."""

    endings: list[Ending] = field(default_factory=list)
    spoken: int = 0
    codes: list[int] = field(default_factory=list)
    while_one_was_away: int = 0
    took_s: float = 0.0

    def verdicts(self) -> list[Verdict]:
        failed = [ending for ending in self.endings if not ending.is_whole]
        counted = f"{len(failed)} of {len(self.endings)} failed, {self.spoken} spoken, {self.took_s:.0f} s"
        counted += f", {self.while_one_was_away} while a server was away"
        counted += f": {failed[0]}" if failed else ""
        return [
            Verdict("a change of both servers fails no request", not failed, counted),
            Verdict("each server drains and exits with 0", set(self.codes) == {0}, str(self.codes)),
        ]


def roll(folder: Path, servers: list[RunningServer], requests: int, spoken: dict[str, Any]) -> RollingReport:
    """Replaces each server in turn while clients send `requests`."""
    report, taking, away = RollingReport(), threading.Lock(), threading.Event()
    sent = 0
    began = time.monotonic()

    def next_number() -> int | None:
        nonlocal sent
        with taking:
            sent += 1
            return sent if sent <= requests else None

    def keep_asking(url: str) -> None:
        while (number := next_number()) is not None:
            speaks = number % _SPOKEN_EVERY == 0
            ending = listen(url, spoken if speaks else _WRITTEN, timeout_s=300)
            with taking:
                report.endings.append(ending)
                report.spoken += speaks
                report.while_one_was_away += away.is_set()

    with (
        behind_nginx(folder, [server.port for server in servers], 60) as url,
        ThreadPoolExecutor(_CALLERS) as pool,
    ):
        callers = [pool.submit(keep_asking, url) for _ in range(_CALLERS)]
        for turn, server in enumerate(servers, 1):
            due = requests * turn // (len(servers) + 2)
            assert becomes(lambda due=due: len(report.endings) >= due, _LONGEST_S), report
            away.set()
            report.codes.append(terminate(server, _DRAINS_S))
            server.start()
            away.clear()
        for caller in callers:
            caller.result(_LONGEST_S)
    report.took_s = time.monotonic() - began
    return report


def crash(server: RunningServer, rounds: int, listening: Callable[[str], Ending]) -> list[Verdict]:
    """SIGKILL in mid-answer, then a start with the same settings: it must be ready and leave no process."""
    left, answered = 0, 0
    for _ in range(rounds):
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(listening, server.url)
            time.sleep(0.2)
            server.tree()
            server.process.send_signal(signal.SIGKILL)
            server.process.wait(10)
            answer.result(30)
        left += not becomes(lambda: not server.survivors(), 10)
        server.start()
        answered += listening(server.url).is_whole
    counted = f"{answered} of {rounds} answered after the start, {left} left processes"
    return [Verdict("after kill -9 a server starts again", answered == rounds and not left, counted)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make rolling", description=__doc__)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--kills", type=int, default=3)
    given = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        servers = [
            serving(
                ANTIPHON_NANO,
                folder / f"log-{number}",
                "--served-model-name",
                MODEL,
                "--drain-timeout",
                "120",
            )
            for number in (1, 2)
        ]
        try:
            for server in servers:
                server.start()
            verdicts = roll(folder / "nginx", servers, given.requests, _SPOKEN).verdicts()
            verdicts += crash(servers[0], given.kills, lambda url: listen(url, _WRITTEN))
        finally:
            for server in servers:
                server.end()
    print(*verdicts, sep="\n")
    return 1 if broken(verdicts) else 0


if __name__ == "__main__":
    raise SystemExit(main())
