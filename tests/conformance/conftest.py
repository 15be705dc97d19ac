"""The server that the real clients talk to: the whole application over the echo engine, on loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import uvicorn

from antiphon_server.app import create_app
from antiphon_server.service import Service
from tests.echo_engine import EchoEngine, Script
from tests.server.parts import make_service
from tests.tiny_checkpoint import write_tiny_checkpoint


@dataclass(frozen=True)
class Served:
    url: str
    engine: EchoEngine
    service: Service


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = write_tiny_checkpoint(tmp_path_factory.mktemp("conformance"))
    engine = EchoEngine(folder)
    engine.cues["please fail"] = Script(fault_at=2)
    service = make_service(folder, engine)
    server = uvicorn.Server(
        uvicorn.Config(create_app(service), host="127.0.0.1", port=0, log_level="warning", loop="uvloop")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Served(f"http://127.0.0.1:{port}", engine, service)
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()
