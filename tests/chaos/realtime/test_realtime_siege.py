"""A small realtime siege on the stand-in: `make realtime-siege` in seconds, without vLLM."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon_server.bench.measure.player import Playback
from tests.chaos.realtime.connection_kills import kill_connections
from tests.chaos.realtime.idle_crowd import Crowd, talk_beside
from tests.chaos.stand_in import start_stand_in
from tests.chaos.verdict import broken
from tests.e2e.server_process import RunningServer
from tests.tiny_checkpoint import write_tiny_checkpoint

pytestmark = [pytest.mark.serial, pytest.mark.promise("R16")]


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary"


@pytest.fixture
def server(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    monkeypatch.setenv("TMPDIR", str(temporary))
    checkpoint = write_tiny_checkpoint(tmp_path / "tokenizer")
    server = start_stand_in(checkpoint, tmp_path / "log", "--no-server.limits.real-time", sentences=1)
    yield server
    server.end()


def test_connections_that_break_off_at_any_moment_leave_nothing(
    server: RunningServer, temporary: Path
) -> None:
    report = kill_connections(server, kills=30, batches=2, temporary=temporary)
    assert report.kills.total() == 30
    # Thread pools start threads on demand, so a short run says nothing about their number.
    verdicts = [one for one in report.verdicts(free_within_s=2.0) if one.promise != "threads do not grow"]
    assert broken(verdicts) == []


def test_idle_connections_stay_open_and_hold_nothing(server: RunningServer) -> None:
    crowd = asyncio.run(talk_beside(server, idle=40, talkers=2, answers=1))
    # The players' underruns are the full run's subject: this machine may be busy.
    assert broken(crowd.verdicts()[:3]) == []


def test_answers_that_fail_beside_idle_connections_are_no_success() -> None:
    heard = Playback(heard_s=2.0, packets=9, underruns=0, underrun_s=0.0, least_slack_s=1.0)
    crowd = Crowd(200, 2, 200, 0.0, alone=[heard, heard], beside=[heard])
    assert broken(crowd.verdicts()) == ["BROKEN  every question is answered to its end: 2 and 1 of 2"]
