"""Servers that the commands talk to: ours over the echo engine, and a foreign one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.client.foreign_server import Foreign, foreign_server
from tests.server.process.test_serve import echo


@pytest.fixture
def foreign() -> Iterator[Foreign]:
    with foreign_server() as server:
        yield server


@pytest.fixture(scope="session")
def ours(checkpoint: Path) -> Iterator[str]:
    """Its base URL."""
    with echo(checkpoint) as running:
        running.wait_until_ready()
        yield f"{running.url}/v1"
