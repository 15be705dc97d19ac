"""The server that the real clients talk to: application and HTTP as they ship, over the echo engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from antiphon_server.chat.service import Service
from antiphon_server.http.app import create_app
from antiphon_server.process.preflight import listen
from antiphon_server.process.uvicorn_server import HttpServer
from tests.echo_engine import EchoEngine, Script
from tests.server.parts import make_service
from tests.tiny_checkpoint import write_tiny_checkpoint

_TLS = Path(__file__).parents[1] / "tls"
CERTIFICATE, KEY = _TLS / "certificate.pem", _TLS / "key.pem"
CALL = '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>'


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
    engine.cues["call it"] = Script(answer=f"Let me see. {CALL}")
    service = make_service(folder, engine, files={"free_disk_bytes": 0})
    service.files.start(None)
    with serving(service) as port:
        yield Served(f"http://127.0.0.1:{port}", engine, service)
    service.files.close()


@pytest.fixture(scope="session")
def tls_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The same over TLS, with a certificate of its own for 127.0.0.1."""
    folder = write_tiny_checkpoint(tmp_path_factory.mktemp("tls"))
    settings = {"tls_certificate_file": CERTIFICATE, "tls_key_file": KEY}
    with serving(make_service(folder, server=settings)) as port:
        yield port


@contextmanager
def serving(service: Service) -> Iterator[int]:
    sock = listen("127.0.0.1", 0, stalled_client_s=30)
    server = HttpServer(create_app(service), service.settings.server)
    thread = threading.Thread(target=server.run, args=([sock],), daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    yield sock.getsockname()[1]
    server.stop()
    thread.join(10)
    assert not thread.is_alive()
