"""The suites behind `make check`, `make test`, `make test-nano`, `make flaky` and `make coverage`.

Tests without torch, whose import takes ten seconds, run first. Then those of engines run in groups
(tests/conftest.py) and leave the cores time, in which `serial` ones wait and those with torch compute.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from types import FrameType
from typing import IO

from tests.niced import niced

PYTEST = (sys.executable, "-m", "pytest")
NO_TESTS = 5
# How a module marks tests that run in groups.
GROUPED = "engine|serial"
IN_GROUP = re.compile(rf"\bmark\.({GROUPED})\b")
REPEATS = 20
# Two processes for each of two cores, as most of the server's tests wait for a process or a clock.
IN_PARALLEL = ("-n", "4", "--dist", "worksteal", "-m", "not (engine or serial)")
# These compute.
MODELS_IN_PARALLEL = ("-n", "2", *IN_PARALLEL[2:])
# Three gain little, and limits on time fail then.
IN_GROUPS = ("-n", "2", "--dist", "loadscope", "--no-loadscope-reorder", "-m", "engine or serial")
ENGINES = (*IN_GROUPS[:-1], "engine")
SERIAL = ("-n", "0", "-m", "serial and not engine")
TIMED = (*IN_PARALLEL[:-1], "timed and not (engine or serial)")
PRODUCT = ("tests", "--ignore=tests/nano")
QUICK = ("tests/project", "tests/server")
WITHOUT_TORCH = (*QUICK, "tests/browser", "tests/chaos", "tests/conformance")
WITH_TORCH = (*PRODUCT, *(f"--ignore={folder}" for folder in WITHOUT_TORCH))
NANO = ("tests/nano",)
COVERED = ("--cov=antiphon_server", "--cov=antiphon_executor", "--cov-report=term:skip-covered")


def main(suite: str, *given: str) -> int:
    end_in_order_when_terminated()
    if suite == "check":
        os.environ.setdefault("ANTIPHON_FEW_EXAMPLES", "1")
        return pytest((*IN_PARALLEL[:-1], "not (engine or serial or heavy)"), QUICK, given)
    if suite == "coverage":
        return pytest((*IN_PARALLEL, *COVERED), PRODUCT, given)
    if suite == "flaky":
        return repeated(given)
    # All parts run, also after a failure in the first.
    if suite == "test-nano":
        return max([pytest(IN_PARALLEL, NANO, given), pytest(IN_GROUPS, grouped_files(NANO), given)])
    parallel = pytest(IN_PARALLEL, WITHOUT_TORCH, given)
    if has_paths(given):
        return max(parallel, pytest(IN_GROUPS, grouped_files(PRODUCT), given))
    return max(parallel, side_by_side(given))


def end_in_order_when_terminated() -> None:
    """Each part is in a session of its own: this process ends it, once, and it reports what it had."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, exit_once)
    # Ignored in a job that a script has put in the background, and then in its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def exit_once(number: int, _: FrameType | None) -> None:
    # `timeout` sends a signal to its command and then to the command's group.
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def side_by_side(given: tuple[str, ...]) -> int:
    with (
        pytest_beside(MODELS_IN_PARALLEL, WITH_TORCH, given, nice=10) as models,
        pytest_beside(SERIAL, grouped_files(PRODUCT, "serial"), given, nice=0) as serial,
    ):
        return max(pytest(ENGINES, grouped_files(PRODUCT, "engine"), given), serial(), models())


def grouped_files(paths: tuple[str, ...], marks: str = GROUPED) -> tuple[str, ...]:
    """The files below the first of `paths` with tests of these marks. To import the others takes seconds."""
    folder, *options = paths
    marked = re.compile(rf"\bmark\.({marks})\b")
    ignored = [option.removeprefix("--ignore=") for option in options]
    return tuple(
        str(file)
        for file in sorted(Path(folder).rglob("test_*.py"))
        if marked.search(file.read_text()) and not any(file.is_relative_to(each) for each in ignored)
    )


def pytest(mode: tuple[str, ...], paths: tuple[str, ...], given: tuple[str, ...]) -> int:
    """Its exit code; `paths` apply unless `given` has some. No matching test is no failure."""
    with part([*mode, *given, *(() if has_paths(given) else paths)]) as process:
        return failure(process.wait())


def failure(code: int) -> int:
    """0 if a process succeeded. The code of one that a signal ended is negative, and less than a success."""
    return 0 if code == NO_TESTS else abs(code)


@contextmanager
def pytest_beside(
    mode: tuple[str, ...], paths: tuple[str, ...], given: tuple[str, ...], nice: int
) -> Iterator[Callable[[], int]]:
    """Yields what waits for the exit code. Prints the output at its end, also if the run is interrupted."""
    with TemporaryFile() as output:
        try:
            with part([*mode, *given, *paths], niced(nice), output) as process:
                yield lambda: failure(process.wait())
        finally:
            output.seek(0)
            shutil.copyfileobj(output, sys.stdout.buffer)
            sys.stdout.flush()


@contextmanager
def part(
    arguments: list[str], before: tuple[str, ...] = (), output: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*before, *PYTEST, *arguments],
        stdout=output,
        stderr=output and subprocess.STDOUT,
        env=environment(),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait()
            except KeyboardInterrupt:
                os.killpg(process.pid, signal.SIGKILL)
                raise


def environment() -> dict[str, str]:
    """With more threads the two processes would slow each other down.

    A hundred processes import the product, each in half the time if one of them may keep its bytecode.
    """
    return {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONDONTWRITEBYTECODE": ""}


def has_paths(given: tuple[str, ...]) -> bool:
    return any(os.path.exists(word.partition("::")[0]) for word in given)  # noqa: PTH110


def repeated(given: tuple[str, ...]) -> int:
    """Each test that starts engines or processes or reads clocks, 20 times, beside a busy process per core.

    Engines and servers start once for all repetitions. ARGS="--repeat 5" changes the number.
    """
    times = ("--repeat", str(REPEATS), "-q")
    with busy_cores():
        return max(
            [
                pytest((*TIMED, *times), PRODUCT, given),
                pytest((*IN_GROUPS, *times), grouped_files(PRODUCT), given),
            ]
        )


@contextmanager
def busy_cores() -> Iterator[None]:
    busy = [
        subprocess.Popen([sys.executable, "-SIc", "while True: pass"]) for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
