"""Shutdown by a signal, by a kill or by a dead engine: clients get an answer and no process remains.

This is the last module of the folder: it ends the servers that the others share.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from antiphon_server.exits import ExitCode
from tests.e2e.answers import STREAMED, said
from tests.e2e.conftest import NANO
from tests.e2e.live_stream import LONG, LiveStream, kill_talker, kill_thinker
from tests.e2e.server_process import RunningServer, becomes, terminate
from tests.e2e.test_engine_faults import CANARY

pytestmark = pytest.mark.engine


@pytest.fixture
def unsupervised(request: pytest.FixtureRequest) -> RunningServer:
    server: RunningServer = request.getfixturevalue(request.param)
    if request.config.getoption("repeat") > 1:
        server.renew()
    return server


@pytest.mark.promise("R23")
@pytest.mark.parametrize(
    ("unsupervised", "kill", "stage"),
    [("paced", kill_talker, "talker"), ("served", kill_thinker, "thinker")],
    indirect=["unsupervised"],
)
def test_without_restarts_the_death_of_an_engine_ends_its_streams_with_an_error_and_then_the_server(
    unsupervised: RunningServer, kill: Callable[[RunningServer], None], stage: str
) -> None:
    """Given a live stream, when an engine's process is killed, then no client waits in vain."""
    server = unsupervised
    stream = LiveStream(server, LONG)
    stream.wait_for_sound()
    probes: list[int] = []
    watching = threading.Thread(target=_watch_readiness, args=(server, probes), daemon=True)
    watching.start()
    kill(server)
    assert stream.ended(15)
    assert stream.broken is None
    error = json.loads(stream.lines[-1])["error"]
    assert error["type"] == "server_error"
    assert stage in error["message"]
    assert "[DONE]" not in stream.lines
    assert server.process.wait(20) == ExitCode.ENGINE_DIED, server.said()
    watching.join(5)
    assert 503 in probes
    assert becomes(lambda: not server.survivors(), 5), server.what_survives()


def _watch_readiness(server: RunningServer, seen: list[int]) -> None:
    """Until the server is gone. The cheapest client there is, since the time between is short."""
    while True:
        try:
            connection = HTTPConnection("127.0.0.1", server.port, timeout=15)
            connection.request("GET", "/readyz")
            seen.append(connection.getresponse().status)
            connection.close()
        except (OSError, HTTPException):
            return


def test_a_killed_server_leaves_no_process_behind(steady: RunningServer) -> None:
    voice = {"voice": "ada", "format": "pcm16"}
    stream = LiveStream(steady, {**LONG, "audio": voice})
    stream.wait_for_sound()
    assert len(steady.tree()) > 3
    steady.process.kill()
    steady.process.wait(10)
    assert becomes(lambda: not steady.survivors(), 5), steady.what_survives()
    assert stream.ended(10)
    assert stream.broken or "[DONE]" not in stream.lines


@pytest.mark.promise("R22")
def test_a_server_that_gets_a_signal_finishes_its_answers_and_leaves_nothing(
    nano_server: RunningServer,
) -> None:
    """SIGTERM: not ready at once, new work refused, the live stream complete, exit code 0."""
    voice = {"voice": "heart", "format": "pcm16"}
    count = {**STREAMED, "model": NANO, "messages": said("Count from one to twenty."), "audio": voice}
    stream = LiveStream(nano_server, count)
    stream.wait_for_sound()
    assert terminate(nano_server) == ExitCode.OK, nano_server.said()
    assert stream.ended(5)
    assert stream.lines[-1] == "[DONE]"
    assert becomes(lambda: not nano_server.survivors(), 5), nano_server.what_survives()
    with pytest.raises(psutil.NoSuchProcess):
        psutil.Process(nano_server.process.pid).status()


def test_a_server_leaves_no_file_behind_and_logs_only_records(faulty: RunningServer, temporary: Path) -> None:
    """To the very end, after all faults: libraries write there of what they believe to have leaked."""
    assert not list(temporary.glob("vllm_dist_*"))
    assert terminate(faulty) == ExitCode.OK, faulty.said()
    assert not list(temporary.glob("antiphon-*"))
    assert not list(temporary.glob("vllm_dist_*"))
    text = faulty.log.read_text()
    assert CANARY not in text
    lines = text.splitlines()
    banner = [number for number, line in enumerate(lines) if not line.startswith("{")]
    assert lines[banner[0]].startswith("Antiphon ")
    assert banner == list(range(banner[0], banner[0] + len(banner)))
    assert len(banner) < 16
    for number, line in enumerate(lines):
        assert number in banner or {"time", "level", "logger", "message"} <= set(json.loads(line)), line
