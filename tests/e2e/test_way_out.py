"""How it ends: told to stop, killed, or with a dead engine. Always an answer, an exit code and no orphan.

The last module of this folder: its last test stops the server that the others share.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from antiphon_server.exits import ExitCode
from tests.e2e.answers import STREAMED, said
from tests.e2e.conftest import StartServer
from tests.e2e.server_process import MODEL, RunningServer, becomes, terminate

pytestmark = pytest.mark.engine

LONG: dict[str, Any] = {
    "model": MODEL,
    "messages": said("Tell me a long story."),
    "max_tokens": 400,
    "talker_temperature": 0,  # of random weights, the greedy Talker does not find an end
    "seed": 1,
    **STREAMED,
}


class LiveStream:
    """A streamed spoken answer being read by a thread. `lines`: the events so far; `status`: HTTP's."""

    def __init__(self, server: RunningServer, body: dict[str, Any]) -> None:
        self._url = f"{server.url}/v1/chat/completions"
        self._body = body
        self.lines: list[str] = []
        self.broken: str | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def has_sound(self) -> bool:
        return any('"data"' in line for line in list(self.lines))

    def wait_for_sound(self) -> None:
        assert becomes(lambda: self.has_sound, 60), self.lines

    def ended(self, within_s: float) -> bool:
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def _read(self) -> None:
        try:
            with httpx.stream("POST", self._url, json=self._body, timeout=60) as answer:
                self.lines.extend(line[6:] for line in answer.iter_lines() if line.startswith("data: "))
        except httpx.HTTPError as error:
            self.broken = repr(error)


@pytest.fixture
def fresh(start: StartServer) -> Iterator[RunningServer]:
    server = start()
    yield server
    server.end()


def kill_talker(server: RunningServer) -> None:
    server.holder_of("text").send_signal(signal.SIGKILL)


def kill_thinker(server: RunningServer) -> None:
    """Its worker: the process below its engine's."""
    talker = server.holder_of("text").pid
    below = [p for p in server.tree()[1:] if p.pid != talker and p.ppid() != server.process.pid]
    workers = [p for p in below if p.name().startswith("VLLM")] or [
        p for p in server.tree()[1:] if p.name().startswith("VLLM") and p.pid != talker
    ]
    workers[0].send_signal(signal.SIGKILL)


@pytest.mark.parametrize(("kill", "stage"), [(kill_talker, "talker"), (kill_thinker, "thinker")])
def test_the_death_of_an_engine_ends_its_streams_with_an_error_and_then_the_server(
    fresh: RunningServer, kill: Callable[[RunningServer], None], stage: str
) -> None:
    """Given a live stream, when an engine's process is killed, then nobody waits in vain (R23)."""
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


def test_a_server_told_to_stop_finishes_what_it_says_and_leaves_nothing(served: RunningServer) -> None:
    """SIGTERM: not ready at once, new work refused, the live stream complete, exit code 0 (R22)."""
    short = {**LONG, "max_tokens": 48, "talker_temperature": 0.9}
    stream = LiveStream(served, short)
    stream.wait_for_sound()
    assert terminate(served) == ExitCode.OK, served.said()
    assert stream.ended(5)
    assert stream.lines[-1] == "[DONE]"
    assert becomes(lambda: not served.survivors(), 5), served.survivors()
    with pytest.raises(psutil.NoSuchProcess):
        psutil.Process(served.process.pid).status()
