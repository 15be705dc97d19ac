"""`browser`: one Chromium for all tests of a process that import this fixture; a page of their own each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.chromium import Browser, chromium, find_chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if find_chromium() is None:
        pytest.skip("chromium is not installed")
    with chromium() as running:
        yield running
