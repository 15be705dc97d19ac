"""The page of a server with a key, behind a proxy that strips a prefix: it asks once, and stays below it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.chromium import Browser
from tests.browser.fixtures import browser  # noqa: F401
from tests.chaos.proxy import NGINX, behind_nginx
from tests.echo_engine import EchoEngine
from tests.page.echo_server import echo_server
from tests.page.stage import READY
from tests.server.parts import make_service
from tests.tiny_checkpoint import write_tiny_checkpoint

pytestmark = [pytest.mark.serial, pytest.mark.skipif(NGINX is None, reason="nginx is not installed")]

KEY = "canary-key-91bd"
PREFIX = "/omni"
DIALOG = "document.querySelector('#key-dialog').open"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = write_tiny_checkpoint(tmp_path_factory.mktemp("prefix"))
    service = make_service(folder, EchoEngine(folder), server={"api_keys": [KEY], "root_path": PREFIX})
    proxy_folder = tmp_path_factory.mktemp("nginx")
    with echo_server(service) as port, behind_nginx(proxy_folder, [port], 60, PREFIX) as proxy:
        yield f"{proxy}{PREFIX}/"


def test_the_key_is_asked_for_once_and_kept_for_the_tab(browser: Browser, url: str) -> None:  # noqa: F811
    with browser.page() as page:
        page.open(url)
        page.wait_for(DIALOG)
        # No header can carry it.
        page.write("cl\u00e9")
        page.press("Enter")
        page.listen(0.2)
        assert page.run(DIALOG)
        page.run("document.querySelector('#key-input').value = ''; 0")
        page.write("wrong")
        page.press("Enter")
        page.wait_for("!document.querySelector('#key-problem').hidden")
        page.write(KEY)
        page.press("Enter")
        page.wait_for(READY)
        assert not page.run(DIALOG)
        page.open(url)
        page.wait_for(READY)
        assert not page.run(DIALOG)
        assert page.run("JSON.stringify(localStorage)").find(KEY) < 0
        page.click("#message")
        page.write("hello there")
        page.press("Enter")
        page.wait_for("antiphon.conversation.turns[1]?.run.isOver", 30)
        assert page.run("antiphon.conversation.turns[1].run.error") is None
        assert "hello" in page.run("antiphon.conversation.turns[1].text")
        assert "ANTIPHON_API_KEY" in page.run("document.querySelector('#code-text').textContent")
        assert f"{url}v1/chat" in page.run("document.querySelector('#code-text').textContent")
        page.run("antiphon.live.open().catch(() => 0); 0")
        page.wait_for("antiphon.log.entries.some(entry => entry.kind === 'session.created')", 60)
        below = url.split("://")[1]
        assert all(one.split("://")[1].startswith(below) for one in page.requests if "://" in one)
        assert KEY not in " ".join(page.requests)
        # The browser logs the answer to the wrong key; nothing else is said.
        assert page.console == []
        assert [error for error in page.errors if "401" not in error] == []


def test_the_page_is_found_by_its_files_alone(browser: Browser, url: str) -> None:  # noqa: F811
    with browser.page() as page:
        page.open(url)
        page.wait_for(DIALOG)
        page.press("Escape")
        page.wait_for("document.querySelector('#composer-status').textContent.includes('key')")
        asked = {one.split("://")[1].partition("/")[2] for one in page.requests}
        assert {one for one in asked if not one.startswith("omni/page/")} <= {"omni/", "omni/readyz"}
