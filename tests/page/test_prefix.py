"""Page and API reference of a server with a key, behind a proxy that strips a prefix: both stay below it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.browser.chromium import Browser
from tests.browser.fixtures import browser  # noqa: F401
from tests.browser.page import Page
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


def test_calls_of_the_reference_are_tried_with_the_key(browser: Browser, url: str) -> None:  # noqa: F811
    """In Swagger UI, which asks no other host."""
    with browser.page() as page:
        page.open(f"{url}docs")
        page.wait_for("!document.querySelector('#key').hidden", 60)
        assert not page.run("!!document.querySelector('.opblock')")
        for key in ("wrong", KEY):
            page.click("#key input")
            page.run("document.querySelector('#key input').value = ''; 0")
            page.write(key)
            page.press("Enter")
            if key == "wrong":
                page.wait_for("document.querySelector('#key output').textContent.includes('not valid')", 60)
        assert '"object": "list"' in tried(page, "GET", "/v1/models")
        assert page.run("document.querySelector('#key').hidden")
        assert "hello there" in tried(page, "POST", "/v1/completions", prompt="hello there", echo=True)
        tried(page, "POST", "/v1/audio/speech", input="hello there", response_format="wav")
        # It knows how long it is, so it could decode it.
        page.wait_for("document.querySelector('audio')?.readyState > 0", 60)
        assert all(one.startswith((url, "data:", "blob:")) for one in page.requests), page.requests
        assert KEY not in " ".join(page.requests)
        assert [error for error in page.errors if "401" not in error] == []
        assert page.run("document.cookie + JSON.stringify([localStorage, sessionStorage])") == "[{},{}]"


def tried(page: Page, method: str, path: str, **body: object) -> str:
    """Opens an operation, sends `body`, and returns the answer that is shown, which has the status 200."""
    block = f'.opblock-{method.lower()}:has([data-path="{path}"])'

    def found(part: str) -> str:
        return f"document.querySelector({json.dumps(f'{block} {part}')})"

    # Blocks move while they open: no mouse.
    page.wait_for(f"!!{found('.opblock-summary-control')}", 60)
    page.run(f"{found('.opblock-summary-control')}.click()")
    page.wait_for(f"!!{found('button.execute')}", 60)
    if body:
        page.wait_for(f"!!{found('textarea')}", 60)
        page.run(f"(area => {{ area.focus(); area.select(); }})({found('textarea')})")
        page.write(json.dumps(body))
    page.run(f"{found('button.execute')}.click()")
    status = found(".live-responses-table tbody .response-col_status")
    assert str(page.wait_for(f"{status}?.innerText", 60)).startswith("200")
    return str(page.run(f"{found('.live-responses-table tbody')}.innerText"))
