"""The application and HTTP as they ship, in a thread, for tests of the page that need no model."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from antiphon_server.chat.service import Service
from antiphon_server.http.app import create_app
from antiphon_server.process.preflight import listen
from antiphon_server.process.uvicorn_server import HttpServer


@contextmanager
def echo_server(service: Service) -> Iterator[int]:
    """Yields its port."""
    sock = listen("127.0.0.1", 0, stalled_client_s=30)
    server = HttpServer(create_app(service), service.settings.server)
    thread = threading.Thread(target=server.run, args=([sock],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield sock.getsockname()[1]
    server.stop()
    thread.join(10)
