"""A server that drains behind nginx under load: no client may see an error. And streams through nginx.

In: running servers. Out: `DrainReport`, `PassageReport`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.chaos.endings import Ending, listen
from tests.chaos.proxy import behind_nginx
from tests.chaos.questions import STREAMED
from tests.chaos.verdict import Verdict
from tests.e2e.answers import said
from tests.e2e.server_process import MODEL, RunningServer, becomes, terminate

Behind = Callable[[Path, list[int], float], AbstractContextManager[str]]

CALLERS = 4
SETTLING_S = 60.0
QUESTION = {"model": MODEL, "messages": said("Say something."), **STREAMED, "max_tokens": 48}
WRITTEN = {"model": MODEL, "messages": said("Say something."), "stream": True, "max_tokens": 40}


@dataclass
class DrainReport:
    """`during`: answers that ran or were requested while the server drained, by their endings."""

    before: list[Ending] = field(default_factory=list)
    during: list[Ending] = field(default_factory=list)
    exit_code: int = -1
    took_s: float = 0.0

    def verdicts(self) -> list[Verdict]:
        answers = [*self.before, *self.during]
        failed = [ending for ending in answers if not ending.is_whole]
        noticed = f"{len(failed)} of {len(answers)} answers failed{f': {failed[0]}' if failed else ''}"
        left = f"code {self.exit_code} after {self.took_s:.1f} s"
        return [
            Verdict("no client behind nginx notices a drain", not failed, noticed),
            Verdict("a server that has drained leaves with 0", self.exit_code == 0, left),
        ]


def drain_behind_nginx(folder: Path, leaving: RunningServer, staying: RunningServer) -> DrainReport:
    """Clients send requests without a pause; `leaving` gets SIGTERM meanwhile and must exit with 0."""
    report, over = DrainReport(), threading.Event()
    told = threading.Event()

    def keep_asking(url: str) -> None:
        while not over.is_set():
            ending = listen(url, QUESTION)
            (report.during if told.is_set() else report.before).append(ending)

    with behind_nginx(folder, [leaving.port, staying.port], 20) as url, ThreadPoolExecutor(CALLERS) as pool:
        callers = [pool.submit(keep_asking, url) for _ in range(CALLERS)]
        assert becomes(lambda: len(report.before) >= CALLERS, SETTLING_S), report
        told.set()
        began = time.monotonic()
        report.exit_code = terminate(leaving, within_s=150)
        report.took_s = time.monotonic() - began
        answered = len(report.during)
        becomes(lambda: len(report.during) >= answered + CALLERS, SETTLING_S)
        over.set()
        for caller in callers:
            caller.result()
    return report


@dataclass
class PassageReport:
    """One stream read through nginx. `patience_s`: the proxy's timeout. `arrivals_s`: of its pieces.

    `comments`: keep-alives among them.
    """

    patience_s: float
    arrivals_s: list[float] = field(default_factory=list)
    comments: int = 0
    ended: bool = False

    @property
    def longest_silence_s(self) -> float:
        steps = zip(self.arrivals_s, self.arrivals_s[1:], strict=False)
        return max((later - sooner for sooner, later in steps), default=0.0)

    def verdicts(self) -> list[Verdict]:
        measured = (
            f"{len(self.arrivals_s)} pieces, {self.comments} keep-alives, "
            f"at most {self.longest_silence_s:.1f} s apart, {'whole' if self.ended else 'cut off'}"
        )
        promise = f"a silent stream passes a proxy that waits {self.patience_s:g} s"
        return [Verdict(promise, self.ended and self.comments > 0, measured)]


def pass_through(
    folder: Path, server: RunningServer, read_timeout_s: float, behind: Behind = behind_nginx
) -> PassageReport:
    """A stream that begins with a silence longer than the proxy's read timeout."""
    report = PassageReport(read_timeout_s)
    with behind(folder, [server.port], read_timeout_s) as proxy:
        url = f"{proxy}/v1/chat/completions"
        try:
            with httpx.stream("POST", url, json=WRITTEN, timeout=120, verify=False) as answer:
                for piece in answer.iter_raw():
                    report.arrivals_s.append(time.monotonic())
                    report.comments += piece.count(b": keep-alive")
                    report.ended = report.ended or b"[DONE]" in piece
        except httpx.HTTPError:
            report.ended = False
    return report
