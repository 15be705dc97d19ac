"""`make realtime-siege`: broken connections, an idle crowd, interruptions; against antiphon-nano.

Prints verdicts; the exit code is 1 if a promise is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pocketsphinx  # type: ignore[import-untyped]

from antiphon_executor.shipped import ANTIPHON_NANO
from tests.chaos.realtime.barge_ins import interrupt, verdicts
from tests.chaos.realtime.connection_kills import kill_connections
from tests.chaos.realtime.idle_crowd import talk_beside
from tests.chaos.verdict import Verdict, broken
from tests.chaos.vitals import FEW_COMPILED, vitals_at_rest
from tests.e2e.ear import Ear
from tests.e2e.server_process import FLAGS, RunningServer, becomes, serving

# Speech is made when it is needed, so that an interruption finds a response that runs.
IN_STEP = ("--engine.talker.pace.park-s", "1")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make realtime-siege", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="connections that break off")
    parser.add_argument("--batches", type=int, default=25)
    parser.add_argument("--free-within", type=float, default=0.2, help="seconds, on a quiet machine")
    parser.add_argument("--idle", type=int, default=200, help="idle connections")
    parser.add_argument("--talkers", type=int, default=4)
    parser.add_argument(
        "--answers", type=int, default=4, help="of each talker, alone and beside the idle ones"
    )
    parser.add_argument("--barge-ins", type=int, default=200)
    parser.add_argument("--barge-in-s", type=float, default=3_600, help="longest time for them")
    parser.add_argument("--save", type=Path, help="file of the barge-ins, so that a stopped run can continue")
    return parser.parse_args()


def run(given: argparse.Namespace, server: RunningServer, folder: Path) -> list[Verdict]:
    found: list[Verdict] = []
    if given.kills:
        kills = kill_connections(server, given.kills, given.batches, folder / "temporary")
        found += tell(str(kills), kills.verdicts(given.free_within))
    if given.idle:
        crowd = asyncio.run(talk_beside(server, given.idle, given.talkers, given.answers))
        found += tell(f"{given.idle} idle connections beside {given.talkers} that talk", crowd.verdicts())
    if given.barge_ins:
        ear, save = Ear(pocketsphinx), given.save or folder / "barge-ins.jsonl"
        # What the first calls start, and keep, is no leak.
        interrupt(server, ear, 1, folder / "warm-up.jsonl", given.barge_in_s)
        before = vitals_at_rest(server)
        seen = interrupt(server, ear, given.barge_ins, save, given.barge_in_s)
        idle = becomes(server.is_idle, 5)
        after = vitals_at_rest(server)
        measured = f"tasks {before.tasks} to {after.tasks}, descriptors {before.descriptors} to "
        measured += f"{after.descriptors}, memory {after.memory_mib - before.memory_mib:+.0f} MiB"
        nothing = Verdict("nothing leaks", idle and after.tasks <= before.tasks, measured)
        found += tell(f"{len(seen)} interruptions", [*verdicts(seen, given.barge_ins), nothing])
    return found


def tell(what: str, found: list[Verdict]) -> list[Verdict]:
    print(what, *found, sep="\n", end="\n\n", flush=True)
    return found


def main() -> int:
    given, began = arguments(), time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ |= FEW_COMPILED
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "temporary").mkdir()
        server = serving(ANTIPHON_NANO, folder / "log", *FLAGS, *IN_STEP)
        server.environment["TMPDIR"] = str(folder / "temporary")
        server.start()
        try:
            found = run(given, server, folder)
        finally:
            server.end()
    lost = broken(found)
    print(*lost, f"{len(lost)} of {len(found)} promises broken; {time.monotonic() - began:.0f} s", sep="\n")
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
