"""An engine dies or hangs: its streams end with an error, and it restarts.

All tests use one server.
"""

from __future__ import annotations

import json
import signal

import httpx
import pytest

from tests.e2e.answers import STREAMED, said
from tests.e2e.live_stream import LONG, LiveStream, kill_talker, kill_thinker
from tests.e2e.server_process import MODEL, RunningServer, becomes

pytestmark = [pytest.mark.engine, pytest.mark.promise("R23", "R24")]

TEXT = {"model": MODEL, "messages": said("Hello."), "max_tokens": 8}
SPEECH = {"model": MODEL, "messages": said("Hello."), "max_tokens": 8, "seed": 1, **STREAMED}


def ask(server: RunningServer, body: dict[str, object]) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)


def works(server: RunningServer) -> list[str]:
    found: list[str] = server.get("/readyz").json()["works"]
    return found


def restarts(server: RunningServer) -> dict[str, float]:
    """How often each stage has been faulty."""
    found = server.metrics()
    return {stage: found["antiphon_engine_restarts_total", stage] for stage in ("thinker", "talker")}


def ends_with_one_error(stream: LiveStream, stage: str) -> None:
    assert stream.ended(20)
    assert stream.broken is None
    errors = [json.loads(line)["error"] for line in stream.lines if '"error"' in line]
    assert [stage in error["message"] for error in errors] == [True]
    assert "[DONE]" not in stream.lines


def speaks_again(server: RunningServer) -> None:
    assert becomes(lambda: works(server) == ["text", "speech"], 120, every_s=0.2), server.said()
    stream = LiveStream(server, SPEECH)
    assert stream.ended(60)
    assert stream.lines[-1] == "[DONE]"
    assert stream.has_sound
    assert becomes(server.is_idle, 5)


def test_the_talkers_death_leaves_text_up_and_it_comes_back(faulty: RunningServer) -> None:
    before = restarts(faulty)
    stream = LiveStream(faulty, LONG)
    stream.wait_for_sound()
    kill_talker(faulty)
    ends_with_one_error(stream, "talker")
    assert works(faulty) == ["text"]
    assert ask(faulty, TEXT).status_code == 200
    refused = ask(faulty, SPEECH)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "engine_dead")
    assert int(refused.headers["retry-after"]) > 0
    speaks_again(faulty)
    assert restarts(faulty) == before | {"talker": before["talker"] + 1}


def test_the_thinkers_death_ends_what_runs_and_it_comes_back(faulty: RunningServer) -> None:
    before = restarts(faulty)
    stream = LiveStream(faulty, LONG)
    stream.wait_for_sound()
    kill_thinker(faulty)
    ends_with_one_error(stream, "thinker")
    assert faulty.get("/readyz").status_code == 503
    assert faulty.get("/livez").status_code == 200
    speaks_again(faulty)
    assert restarts(faulty) == before | {"thinker": before["thinker"] + 1}


def test_an_engine_that_hangs_counts_as_dead(faulty: RunningServer) -> None:
    """Stopped, not killed: the process is there, and answers nothing."""
    before = restarts(faulty)
    stream = LiveStream(faulty, LONG)
    stream.wait_for_sound()
    hung = faulty.holder_of("text")
    hung.send_signal(signal.SIGSTOP)
    ends_with_one_error(stream, "talker")
    assert becomes(lambda: not hung.is_running(), 20)
    speaks_again(faulty)
    assert restarts(faulty) == before | {"talker": before["talker"] + 1}
