"""SIGTERM while a realtime response runs: it ends whole, then the connection closes with 1001."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from antiphon_server.exits import ExitCode
from tests.server.process.test_serve import PATIENCE_S, echo
from tests.server.realtime.machines import user_text

pytestmark = [pytest.mark.heavy, pytest.mark.promise("R22", "R23")]


def until(socket: ClientConnection, kind: str) -> dict[str, Any]:
    while True:
        event: dict[str, Any] = json.loads(socket.recv(PATIENCE_S))
        if event["type"] == kind:
            return event


def test_a_running_response_ends_before_its_connection(checkpoint: Path) -> None:
    with echo(checkpoint, ECHO_HANGS_AT="3") as running:
        running.wait_until_ready()
        address = running.url.replace("http", "ws", 1) + "/v1/realtime?model=echo"
        with connect(address) as socket:
            socket.send(json.dumps({"type": "conversation.item.create", "item": user_text("hello there")}))
            socket.send(json.dumps({"type": "response.create"}))
            until(socket, "response.output_item.added")
            running.process.send_signal(signal.SIGTERM)
            running.wait_for(lambda: running.get("/readyz").status_code == 503)
            running.process.send_signal(signal.SIGUSR2)
            assert until(socket, "response.done")["response"]["status"] == "completed"
            with pytest.raises(ConnectionClosed) as closed:
                until(socket, "none")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        running.ends_with(ExitCode.OK)
