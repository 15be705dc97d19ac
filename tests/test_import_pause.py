"""Engine processes collect no garbage while they import; other processes are left alone."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from antiphon_executor.ipc.import_pause import pause_collection, resume_collection
from antiphon_executor.ipc.parent_watchdog import SERVER_PID


@pytest.fixture(autouse=True)
def enabled() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_the_pause_ends_with_the_imports_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SERVER_PID, str(os.getppid()))
    pause_collection()
    assert not gc.isenabled()
    imported, frozen = [object() for _ in range(10)], gc.get_freeze_count()
    resume_collection()
    assert gc.isenabled()
    assert gc.get_freeze_count() > frozen
    assert not any(each is imported for each in gc.get_objects())


@pytest.mark.parametrize("server", ["", "own"])
def test_a_process_that_no_server_has_started_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    monkeypatch.setenv(SERVER_PID, str(os.getpid()) if server else "0")
    pause_collection()
    assert gc.isenabled()


def test_without_a_pause_nothing_is_frozen() -> None:
    frozen = gc.get_freeze_count()
    resume_collection()
    assert gc.get_freeze_count() == frozen
