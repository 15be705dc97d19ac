"""Real clients of `/v1/realtime`, unchanged, over real sockets: turns, tools, errors, keys; and shutdown."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from socket import SHUT_RDWR
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.conformance.conftest import Served
from tests.e2e.server_process import becomes

Results = dict[str, Any]
_CLIENT = Path(__file__).parent / "clients" / "echo" / "openai_realtime.py"


@pytest.fixture(scope="module")
def results(served: Served) -> Results:
    done = subprocess.run(
        [sys.executable, str(_CLIENT), served.url], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    got: Results = json.loads(done.stdout.strip().splitlines()[-1])
    return got


def test_speech_arrives_as_the_engine_made_it(results: Results, served: Served) -> None:
    spoken = results["spoken"]
    assert (spoken["status"], spoken["transcript"]) == ("completed", "good morning")
    assert base64.b64decode(spoken["pcm"]) == served.engine.spoken[spoken["id"]]


def test_text_arrives(results: Results) -> None:
    assert results["text"]["transcript"] == "hello"
    assert results["text"]["output_tokens"] == 2


def test_a_pushed_turn_is_answered(results: Results, served: Served) -> None:
    assert results["pushed"]["status"] == "completed"
    assert "input_audio_buffer.committed" in results["pushed"]["kinds"]


def test_a_tool_is_called(results: Results) -> None:
    assert results["tool"]["calls"] == [["add", '{"a": 1}']]


def test_an_error_names_the_event_that_caused_it(results: Results) -> None:
    assert results["error"] == ["item_delete_invalid_item_id", "mine"]


def test_a_client_secret_opens_a_connection(results: Results) -> None:
    assert results["secret"] is None


def realtime_url(served: Served, query: str = "?model=echo") -> str:
    return served.url.replace("http", "ws", 1) + "/v1/realtime" + query


def test_a_connection_is_refused_before_it_is_accepted(served: Served) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(realtime_url(served, "?model=another")):
        pass
    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body)["error"]["code"] == "model_not_found"


def test_a_frame_above_the_limit_closes_the_connection(served: Served) -> None:
    with connect(realtime_url(served)) as socket:
        # Read before the frame is sent: a connection that is reset loses what has not been read.
        events = [json.loads(event)["type"] for event in (socket.recv(10), socket.recv(10))]
        assert events == ["session.created", "conversation.created"]
        socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": "A" * (1 << 20)}))
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=60)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_nothing_is_compressed_and_a_page_of_another_site_is_refused(served: Served) -> None:
    with connect(realtime_url(served)) as socket:
        assert socket.response is not None
        assert "sec-websocket-extensions" not in socket.response.headers
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(realtime_url(served), origin="https://evil.example"),
    ):
        pass
    assert refused.value.response.status_code == 403


def test_connections_that_break_off_leave_nothing(served: Served) -> None:
    """Without a closing handshake, in the middle of answers."""
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "say " * 40}]}
    for number in range(40):
        with connect(realtime_url(served)) as socket:
            socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
            socket.send(json.dumps({"type": "response.create"}))
            for _ in range(number % 8):
                socket.recv(timeout=60)
            socket.socket.shutdown(SHUT_RDWR)
    assert becomes(lambda: served.engine.running == served.service.admission.requests == 0, 2)
