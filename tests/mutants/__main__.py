"""`make mutants`: tries every change, and lists those that no test detects. Exit code 1 if there are any.

In: modules to try (all by default), and how many runs at once. Out: one line per survivor, and a count.
Each run is a fork of a process that has imported what tests and server need of others.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.mutants.known import EQUIVALENT
from tests.mutants.mutations import mutations

_FOLDER = "tests/server"
# The tests of each module; those that fail soonest first.
TESTS: dict[str, tuple[str, ...]] = {
    "openai_api.json_shape": ("openai_api/test_json_shape.py",),
    "http.body_limits": ("http/test_body_limits.py", "http/test_buffered_body.py", "http/test_body_type.py"),
    "http.framing": ("http/test_framing.py", "http/test_connection.py"),
    "http.request_head": ("http/test_request_head.py", "http/test_connection.py"),
    "http.connection": (
        "http/test_connection_states.py",
        "http/test_connection.py",
        "http/test_body_limits.py",
        "http/test_connections.py",
        "http/test_stopped_readers.py",
        "http/test_websocket.py",
    ),
    "http.body_type": ("http/test_body_type.py",),
    "http.origins": ("http/test_origins.py",),
    "http.connections": ("http/test_connections.py",),
    "http.descriptors": ("http/test_connections.py",),
}
_LONGEST_RUN_S = 240.0
_OURS = ("antiphon_", "tests")
# Servers of their own process import the module unchanged.
_OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-k", "not with_256")
# Plugins were imported before the fork.
_OPTIONS += ("-W", "ignore::pytest.PytestAssertRewriteWarning")


@dataclass(frozen=True, slots=True)
class Trial:
    """One change of one module. `number` -1: none."""

    module: str
    number: int
    line: int
    what: str

    @property
    def place(self) -> str:
        return f"{self.module}:{self.line}: {self.what}"

    @property
    def is_known(self) -> bool:
        return (f"{self.module.rpartition('.')[2]}.py", self.what) in EQUIVALENT

    def run(self) -> int:
        """The exit code of the module's tests."""
        os.environ["MUTANT"] = f"antiphon_server.{self.module}:{self.number}" if self.number >= 0 else ""
        tests = [f"{_FOLDER}/{name}" for name in TESTS[self.module]]
        return int(pytest.main([*_OPTIONS, "-p", "tests.mutants.plugin", *tests]))


def trials(modules: list[str]) -> list[Trial]:
    found = []
    for module in modules:
        spec = find_spec(f"antiphon_server.{module}")
        assert spec is not None
        assert spec.origin is not None
        for number, mutation in enumerate(mutations(Path(spec.origin).read_text(encoding="utf-8"))):
            found.append(Trial(module, number, mutation.line, mutation.what))
    return found


def import_what_others_wrote() -> None:
    """And forget what is ours: each run imports it again, one module changed."""
    pytest.main(["--collect-only", "-qq", f"{_FOLDER}/http/test_connection.py"])
    for name in {name for names in TESTS.values() for name in names}:
        import_module(f"{_FOLDER}/{name}".removesuffix(".py").replace("/", "."))
    for name in [name for name in sys.modules if name.startswith(_OURS)]:
        del sys.modules[name]


def exit_codes(every: list[Trial], at_once: int) -> Iterator[tuple[Trial, int]]:
    """In the order in which they end. A run without an end is killed, and is a failure too."""
    waiting, running = list(reversed(every)), dict[int, tuple[Trial, float]]()
    while waiting or running:
        while waiting and len(running) < at_once:
            trial = waiting.pop()
            running[forked(trial.run)] = trial, time.monotonic()
        for process, (_, began_s) in running.items():
            if time.monotonic() - began_s > _LONGEST_RUN_S:
                os.kill(process, signal.SIGKILL)
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended in running:
            yield running.pop(ended)[0], os.waitstatus_to_exitcode(status)
        else:
            time.sleep(0.05)


def forked(work: Callable[[], int]) -> int:
    """The process that does it, silently."""
    if process := os.fork():
        return process
    code = 1
    try:
        silent = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(silent, stream)
        code = work()
    finally:
        os._exit(code)


def main() -> int:
    parser = argparse.ArgumentParser("make mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", help=f"of {', '.join(TESTS)}")
    parser.add_argument("--at-once", type=int, default=2, help="test runs side by side [2]")
    given = parser.parse_args()
    modules = given.modules or list(TESTS)
    import_what_others_wrote()
    for trial, code in exit_codes([Trial(module, -1, 0, "") for module in modules], given.at_once):
        if code:
            print(f"the tests of {trial.module} fail without a change: exit code {code}")
            return 1
    survivors, unknown = 0, 0
    every = trials(modules)
    for trial, code in exit_codes(every, given.at_once):
        survivors += not code
        if not code and not trial.is_known:
            unknown += 1
            print(f"no test notices {trial.place}", flush=True)
    noticed, known = len(every) - survivors, survivors - unknown
    print(f"{len(every)} changes: {noticed} noticed, {known} without effect, {unknown} unnoticed")
    return int(bool(unknown))


if __name__ == "__main__":
    raise SystemExit(main())
