"""`make conformance`: one server of antiphon-nano, every real client, and a table of what they did.

ARGS: names of clients, or parts of them; `--quick` for those that CI runs.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from antiphon_executor.shipped import ANTIPHON_NANO
from tests.conformance.catalog import CLIENTS, MODEL, Client, Outcome, prepare, run
from tests.e2e.server_process import RunningServer, serving

# Clients are judged by what they get, not by whether this machine keeps up. Speech is made when it is needed:
# an interruption finds an answer that goes on.
_FLAGS = ("--served-model-name", MODEL, "--no-server.limits.real-time", "--engine.talker.pace.park-s", "1")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clients", nargs="*")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    chosen = [client for client in CLIENTS if client.quick or not asked.quick]
    if asked.clients:
        words = [word.lower() for word in asked.clients]
        chosen = [one for one in chosen if any(word in one.name.lower() for word in words)]
    # The server is ended also if this process is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with TemporaryDirectory() as folder:
        server = serving(ANTIPHON_NANO, Path(folder) / "log", *_FLAGS)
        server.start()
        try:
            prepare(server.url, Path(folder))
            outcomes = [(client, _told(client, server, Path(folder))) for client in chosen]
        finally:
            server.end()
    print(as_table(outcomes))
    return max((int(not is_good(outcome)) for _, outcome in outcomes), default=1)


def _told(client: Client, server: RunningServer, folder: Path) -> Outcome:
    outcome = run(client, server.url, folder)
    print(f"{client.name} {outcome.version}: {result_of(outcome)}", file=sys.stderr, flush=True)
    for case, trouble in outcome.failed.items():
        if trouble:
            print(f"--- {client.name}: {case}\n{trouble}", file=sys.stderr, flush=True)
    return outcome


def is_good(outcome: Outcome) -> bool:
    """A client that tried nothing is not good."""
    return not outcome.trouble and bool(outcome.failed) and not any(outcome.failed.values())


def result_of(outcome: Outcome) -> str:
    if outcome.trouble:
        return " ".join(outcome.trouble.split()).replace("|", "/")
    failed = [case.replace("_", " ") for case, trouble in outcome.failed.items() if trouble]
    if not outcome.failed:
        return "nothing was tried"
    return f"failed: {', '.join(failed)}" if failed else "ok"


def as_table(outcomes: list[tuple[Client, Outcome]]) -> str:
    lines = ["| client | version | what was done | result |", "|---|---|---|---|"]
    for client, outcome in outcomes:
        done = ", ".join(case.replace("_", " ") for case in outcome.failed)
        lines.append(f"| {client.name} | {outcome.version} | {done} | {result_of(outcome)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
