"""`make bench`: what is worse than the last run and what is noise; a part that fails or does not end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.bench import bench_text, standing
from tests.bench.standing import SIZES, Figure, Figures, Size, as_table, is_worse, read_figures, run_parts


@pytest.mark.parametrize(
    ("last", "now", "worse"),
    [
        (Figure(1.0, 0.02), Figure(1.04, 0.02), False),
        (Figure(1.0, 0.02), Figure(1.07, 0.02), True),
        (Figure(1.0, 0.1), Figure(1.15, 0.1), False),
        (Figure(1.0, 0.02), Figure(0.5, 0.02), False),
        (Figure(1.0, 0.02, "higher"), Figure(0.9, 0.02, "higher"), True),
        (Figure(1.0, 0.02, "higher"), Figure(1.5, 0.02, "higher"), False),
    ],
)
def test_a_figure_is_worse_only_beyond_the_noise_of_both_runs(last: Figure, now: Figure, worse: bool) -> None:
    assert is_worse(last, now) is worse


def test_the_table_names_what_got_worse_and_shows_new_figures_without_a_verdict() -> None:
    last = {"a": Figure(1.0, 0.0), "b": Figure(1.0, 0.0)}
    now = {"a": Figure(2.0, 0.0), "b": Figure(1.0, 0.0), "c": Figure(9.0, 0.0)}
    rows = as_table(now, last).splitlines()[2:]
    assert [row.endswith("| **worse** |") for row in rows] == [True, False, False]


def test_a_part_that_fails_loses_no_figure_of_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "last.json"
    seen: list[Figures] = []

    def good(_folder: Path, _size: Size) -> Figures:
        return {"good": Figure(2.0, 0.1)}

    def bad(_folder: Path, _size: Size) -> Figures:
        seen.append(read_figures(result))
        raise RuntimeError("no server")

    def later(_folder: Path, _size: Size) -> Figures:
        return {"later": Figure(3.0, 0.1)}

    old = {"old": Figure(1.0, 0.0)}
    parts = {"good": good, "bad": bad, "later": later}
    assert not run_parts(parts, SIZES["full"], old, result)
    assert seen == [{**old, "good": Figure(2.0, 0.1)}], "the file is written after each part"
    assert read_figures(result) == {**seen[0], "later": Figure(3.0, 0.1)}
    printed = capsys.readouterr().out
    assert "bad failed: RuntimeError('no server')" in printed
    assert printed.count("| good |") == 3
    assert run_parts({"good": good}, SIZES["full"], old, result)


def test_a_part_that_does_not_end_is_ended_with_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "never_ends.py").write_text(
        "import pathlib, subprocess, sys, time\n"
        "command = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "child = subprocess.Popen(command, start_new_session=True)\n"
        "pathlib.Path(sys.argv[2]).write_text(str(child.pid))\n"
        "time.sleep(600)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(standing, "_COMMAND_WITHIN_S", 2.0)
    result = tmp_path / "result"
    with pytest.raises(RuntimeError, match="never_ends did not end within 2 s"):
        standing.run_command("never_ends", result)
    _wait_for_end(int(result.read_text()))


def test_a_benchmark_that_is_terminated_ends_its_servers_first() -> None:
    program = (
        "import time\nfrom tests.bench.front_end.processes import exit_on_sigterm\nexit_on_sigterm()\n"
        "try:\n    print('serving', flush=True)\n    time.sleep(600)\nfinally:\n    print('servers ended')\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as benchmark:
        assert benchmark.stdout is not None
        assert benchmark.stdout.readline() == "serving\n"
        benchmark.terminate()
        assert benchmark.stdout.read() == "servers ended\n"
    assert benchmark.returncode == 143


def _wait_for_end(pid: int) -> None:
    deadline_s = time.monotonic() + 20
    while _runs(pid):
        assert time.monotonic() < deadline_s, "a process of the command still runs"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@dataclass
class _PollingServer:
    """Uses a core until `until_s`, as vLLM's worker does for a second after its last step."""

    until_s: float

    def cpu_s(self) -> float:
        return min(time.monotonic(), self.until_s)


def test_a_round_of_text_begins_when_no_server_computes_any_more() -> None:
    polling = _PollingServer(time.monotonic() + 0.5)
    asyncio.run(bench_text.until_quiet(polling, _PollingServer(0.0)))
    assert time.monotonic() >= polling.until_s


def test_servers_that_never_rest_are_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_text, "_QUIET_WITHIN_S", 0.5)
    with pytest.raises(RuntimeError, match="still compute"):
        asyncio.run(bench_text.until_quiet(_PollingServer(float("inf"))))
