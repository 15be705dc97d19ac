"""`make siege`: hostile clients against a real server on the embedded model; an exit code.

In: flags. Out: text on stdout, and 1 if a promise was broken: no 5xx, no hang, `/livez` always within a
second, and no memory growth. 503 with Retry-After is allowed under overload.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from antiphon_executor.shipped import ANTIPHON_NANO
from tests.chaos.client_kills import kill_clients
from tests.chaos.siege.bombs import bombs
from tests.chaos.siege.exchange import Answer, exchange
from tests.chaos.siege.mutants import Mutants
from tests.chaos.siege.pressure import ask, grammars, ordinary_schema, send_trailers, stay_idle
from tests.chaos.verdict import Verdict, broken
from tests.chaos.vitals import FEW_COMPILED, Vitals, vitals_at_rest
from tests.e2e.recordings import make_recordings
from tests.e2e.server_process import RunningServer, becomes, start_server

AT_ONCE = 6
LIVE_WITHIN_S = 1.0
MOST_MIB = 64.0


@dataclass
class LivenessProbe:
    """Requests `/livez` ten times a second on new connections; keeps the slowest answer."""

    url: str
    slowest_s: float = 0.0
    probes: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[LivenessProbe]:
        thread = threading.Thread(target=self._probe)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    def _probe(self) -> None:
        while not self._stop.wait(0.1):
            began = time.monotonic()
            try:
                status = httpx.get(f"{self.url}/livez", timeout=30, verify=False).status_code
                if status != 200:
                    self.failures[str(status)] += 1
            except httpx.HTTPError as error:
                self.failures[type(error).__name__] += 1
            self.probes += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)

    def verdict(self) -> Verdict:
        seen = dict(self.failures) or "all well"
        measured = f"{self.probes} probes, the slowest {self.slowest_s * 1e3:.0f} ms, {seen}"
        return Verdict(
            "/livez answers within 1 s", not self.failures and self.slowest_s < LIVE_WITHIN_S, measured
        )


class Siege:
    """One run. `verdicts`: the promises checked so far."""

    def __init__(self, given: argparse.Namespace, server: RunningServer) -> None:
        self._given = given
        self._server = server
        self._recordings = make_recordings()
        self.verdicts: list[Verdict] = []

    def run(self) -> None:
        self._mutants(self._given.requests // 10, self._given.seed + 1)
        before = vitals_at_rest(self._server)
        with LivenessProbe(self._server.url).running() as probe:
            self._mutants(self._given.requests, self._given.seed)
            self._bombs()
            self._hang_ups()
            self._trailers()
            self._grammars()
            self._idle()
        self._tell("the whole siege", probe.verdict(), *self._at_rest(before))

    def _mutants(self, count: int, seed: int) -> None:
        drawn = islice(Mutants(self._recordings, seed), count)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = pool.map(lambda one: exchange(self._server.port, *one), drawn)
            self._judge(f"{count} mutated requests", answers)

    def _bombs(self) -> None:
        asked = []
        for name, part in bombs():
            content = [part, {"type": "text", "text": "What is it?"}]
            asked.append((name, {"messages": [{"role": "user", "content": content}], "max_tokens": 4}))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = pool.map(lambda one: ask(self._server.port, *one), asked)
            self._judge(f"{len(asked)} media bombs", answers)

    def _hang_ups(self) -> None:
        report = kill_clients(self._server, self._given.hang_ups, 10, self._recordings, within_s=300)
        self._tell(str(report), *report.verdicts(free_within_s=5.0)[:2])

    def _trailers(self) -> None:
        with ThreadPoolExecutor(4) as pool:
            ways = list(pool.map(lambda _: send_trailers(self._server.port, 8.0), range(4)))
        most = max(sent for sent, _ in ways) >> 10
        self._tell(
            "trailers", Verdict("they are cut off", all(ended for _, ended in ways), f"after {most} KiB")
        )

    def _grammars(self) -> None:
        beside: list[Answer] = []
        with ThreadPoolExecutor(AT_ONCE) as pool:
            dear = [pool.submit(ask, self._server.port, *one) for one in grammars()]
            while not all(one.done() for one in dear):
                beside.append(ordinary_schema(self._server.port))
            self._judge("grammars", [one.result() for one in dear])
        slowest = max((one.seconds for one in beside), default=0.0)
        well = all(one.status == 200 for one in beside)
        self._tell(
            "an ordinary schema beside them",
            Verdict(
                "is answered",
                well and slowest < 15,
                f"{len(beside)} times, the slowest after {slowest:.1f} s",
            ),
        )

    def _idle(self) -> None:
        opened = stay_idle(self._server.port, self._given.connections, 5.0)
        answer = ask(
            self._server.port,
            "afterwards",
            {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2},
        )
        self._tell(
            f"{self._given.connections} idle connections, {opened} of them taken",
            Verdict("a request is answered afterwards", answer.status == 200, f"{answer.status}"),
        )

    def _judge(self, what: str, answers: Iterable[Answer]) -> None:
        seen = list(answers)
        faults = [one.fault for one in seen if one.fault]
        statuses = dict(sorted(Counter(one.status for one in seen).items()))
        slowest = max(seen, key=lambda one: one.seconds)
        self._tell(
            f"{what}: {statuses}, the slowest {slowest.seconds:.1f} s ({slowest.name})",
            Verdict("no 5xx, no hang, no leak", not faults, "; ".join(faults[:8]) or "none"),
        )

    def _at_rest(self, before: Vitals) -> list[Verdict]:
        idle = becomes(self._server.is_idle, 60)
        time.sleep(2)
        after = vitals_at_rest(self._server)
        pid = self._server.process.pid
        grown = after.held_mib[pid] - before.held_mib[pid]
        counted = (
            f"descriptors {before.descriptors} to {after.descriptors}, tasks {before.tasks} to {after.tasks}"
        )
        return [
            Verdict("nothing is held", idle, "idle" if idle else "busy after 60 s"),
            Verdict(
                "the server's memory is back",
                grown < MOST_MIB,
                f"{grown:+.0f} MiB, limit {MOST_MIB:.0f}; {counted}",
            ),
        ]

    def _tell(self, report: str, *verdicts: Verdict) -> None:
        print(report, *verdicts, sep="\n", end="\n\n", flush=True)
        self.verdicts += verdicts


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make siege", description=__doc__)
    parser.add_argument("--requests", type=int, default=2000, help="mutated requests")
    parser.add_argument("--hang-ups", type=int, default=200)
    parser.add_argument("--connections", type=int, default=300, help="idle ones")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> int:
    given, began = arguments(), time.monotonic()
    os.environ |= FEW_COMPILED
    with TemporaryDirectory() as folder:
        server = start_server(ANTIPHON_NANO, Path(folder) / "log")
        try:
            siege = Siege(given, server)
            siege.run()
        finally:
            server.end()
    lost = broken(siege.verdicts)
    print(
        *lost,
        f"{len(lost)} of {len(siege.verdicts)} promises broken; {time.monotonic() - began:.0f} s",
        sep="\n",
    )
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
