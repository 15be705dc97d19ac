"""One real server for all tests that only send requests, and the media that they send."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest

from tests.checkpoints import tiny_qwen3_omni  # noqa: F401
from tests.e2e.recordings import Recordings, make_recordings
from tests.e2e.server_process import RunningServer, start_server

StartServer = Callable[..., RunningServer]


@pytest.fixture(scope="session")
def recordings() -> Recordings:
    return make_recordings()


@pytest.fixture(scope="session")
def start(
    tiny_qwen3_omni: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StartServer]:
    """Starts a server with more flags. Whatever a failing test leaves of it ends with the session."""
    servers: list[RunningServer] = []

    def start_one(*flags: str) -> RunningServer:
        log = tmp_path_factory.mktemp("server") / "log"
        servers.append(start_server(tiny_qwen3_omni, log, *flags))
        return servers[-1]

    yield start_one
    for server in servers:
        server.end()


@pytest.fixture(scope="session")
def served(start: StartServer) -> RunningServer:
    return start()


@pytest.fixture(scope="session")
def client(served: RunningServer) -> openai.OpenAI:
    return served.client()
