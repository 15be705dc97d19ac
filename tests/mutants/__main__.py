"""`make mutants`: tries every change, and lists those that no test detects. Exit code 1 if there are any.

In: modules to try (all by default), and how many runs at once. Out: one line per survivor, and a count.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.mutants.known import EQUIVALENT
from tests.mutants.mutations import mutations

_FOLDER = "tests/server"
# The tests of each module; those that fail soonest first.
TESTS: dict[str, tuple[str, ...]] = {
    "json_shape": ("test_json_shape.py",),
    "limits": ("test_limits.py", "test_held_body.py", "test_body_type.py"),
    "framing": ("test_framing.py", "test_http_protocol.py"),
    "request_head": ("test_request_head.py", "test_http_protocol.py"),
    "http_protocol": (
        "test_connection_states.py",
        "test_http_protocol.py",
        "test_limits.py",
        "test_connections.py",
        "test_stopped_readers.py",
    ),
    "body_type": ("test_body_type.py",),
    "origins": ("test_origins.py",),
    "connections": ("test_connections.py",),
    "descriptors": ("test_connections.py",),
}
_LONGEST_RUN_S = 240


@dataclass(frozen=True, slots=True)
class Trial:
    """One change of one module."""

    module: str
    number: int
    line: int
    what: str

    @property
    def place(self) -> str:
        return f"{self.module}.py:{self.line}: {self.what}"

    @property
    def survives(self) -> bool:
        """Whether the module's tests pass all the same. A run without an end is noticed, too."""
        tests = [f"{_FOLDER}/{name}" for name in TESTS[self.module]]
        # Servers of their own process import the module unchanged.
        options = [
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "tests.mutants.plugin",
            "-k",
            "not with_256",
        ]
        command = [sys.executable, "-m", "pytest", *options, *tests]
        environment = {**os.environ, "MUTANT": f"antiphon_server.{self.module}:{self.number}"}
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, timeout=_LONGEST_RUN_S, check=False
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0


def trials(modules: list[str]) -> list[Trial]:
    found = []
    for module in modules:
        spec = find_spec(f"antiphon_server.{module}")
        assert spec is not None
        assert spec.origin is not None
        for number, mutation in enumerate(mutations(Path(spec.origin).read_text(encoding="utf-8"))):
            found.append(Trial(module, number, mutation.line, mutation.what))
    return found


def main() -> int:
    parser = argparse.ArgumentParser("make mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", help=f"of {', '.join(TESTS)}")
    parser.add_argument("--at-once", type=int, default=2, help="test runs side by side [2]")
    given = parser.parse_args()
    every = trials(given.modules or list(TESTS))
    survivors, unknown = [], []
    with ThreadPoolExecutor(given.at_once) as pool:
        for trial, lives in zip(every, pool.map(lambda trial: trial.survives, every), strict=True):
            if lives:
                survivors.append(trial)
            if lives and (f"{trial.module}.py", trial.what) not in EQUIVALENT:
                unknown.append(trial)
                print(f"no test notices {trial.place}", flush=True)
    noticed, known = len(every) - len(survivors), len(survivors) - len(unknown)
    print(f"{len(every)} changes: {noticed} noticed, {known} without effect, {len(unknown)} unnoticed")
    return int(bool(unknown))


if __name__ == "__main__":
    raise SystemExit(main())
