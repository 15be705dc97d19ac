"""Shutdown by a signal, by a kill or by a dead engine: clients get an answer and no process remains.

This is the last module of the folder: its last test stops the server that the others share.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from antiphon_server.exits import ExitCode
from tests.e2e.conftest import StartServer
from tests.e2e.live_stream import LONG, LiveStream, kill_talker, kill_thinker
from tests.e2e.server_process import RunningServer, becomes, terminate

pytestmark = pytest.mark.engine


@pytest.fixture
def fresh(start: StartServer) -> Iterator[RunningServer]:
    server = start("--engine.restarts", "0")
    yield server
    server.end()


@pytest.mark.promise("R23")
@pytest.mark.parametrize(("kill", "stage"), [(kill_talker, "talker"), (kill_thinker, "thinker")])
def test_without_restarts_the_death_of_an_engine_ends_its_streams_with_an_error_and_then_the_server(
    fresh: RunningServer, kill: Callable[[RunningServer], None], stage: str
) -> None:
    """Given a live stream, when an engine's process is killed, then no client waits in vain."""
    stream = LiveStream(fresh, LONG)
    stream.wait_for_sound()
    probes: list[int] = []
    watching = threading.Thread(target=_watch_readiness, args=(fresh, probes), daemon=True)
    watching.start()
    kill(fresh)
    assert stream.ended(15)
    assert stream.broken is None
    error = json.loads(stream.lines[-1])["error"]
    assert error["type"] == "server_error"
    assert stage in error["message"]
    assert "[DONE]" not in stream.lines
    assert fresh.process.wait(20) == ExitCode.ENGINE_DIED, fresh.said()
    watching.join(5)
    assert 503 in probes
    assert becomes(lambda: not fresh.survivors(), 5), fresh.survivors()


def _watch_readiness(server: RunningServer, seen: list[int]) -> None:
    """Until the server is gone."""
    while True:
        try:
            seen.append(server.get("/readyz").status_code)
        except httpx.TransportError:
            return


def test_a_killed_server_leaves_no_process_behind(fresh: RunningServer) -> None:
    stream = LiveStream(fresh, LONG)
    stream.wait_for_sound()
    assert len(fresh.tree()) > 3
    fresh.process.kill()
    fresh.process.wait(10)
    assert becomes(lambda: not fresh.survivors(), 5), fresh.survivors()
    assert stream.ended(10)
    assert stream.broken or "[DONE]" not in stream.lines


@pytest.mark.promise("R22")
def test_a_server_that_gets_a_signal_finishes_its_answers_and_leaves_nothing(served: RunningServer) -> None:
    """SIGTERM: not ready at once, new work refused, the live stream complete, exit code 0."""
    short = {**LONG, "max_tokens": 48, "talker_temperature": 0.9}
    stream = LiveStream(served, short)
    stream.wait_for_sound()
    assert terminate(served) == ExitCode.OK, served.said()
    assert stream.ended(5)
    assert stream.lines[-1] == "[DONE]"
    assert becomes(lambda: not served.survivors(), 5), served.survivors()
    with pytest.raises(psutil.NoSuchProcess):
        psutil.Process(served.process.pid).status()
