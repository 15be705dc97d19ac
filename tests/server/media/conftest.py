"""One loader for all media tests: starting decoders is the slow part."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.policy import MediaPolicy


@pytest_asyncio.fixture(scope="session")
async def started_loader() -> AsyncIterator[MediaLoader]:
    loader = MediaLoader(MediaPolicy())
    await loader.start()
    yield loader
    await loader.close()


@pytest.fixture
def loader(started_loader: MediaLoader) -> MediaLoader:
    """It has decoded no file before, and remembers none."""
    started_loader.remember_files(0)
    return started_loader
