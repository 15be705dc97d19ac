"""The browser of the tests: scripts, input, pictures, what a page says, and no network."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from tests.browser.chromium import Browser
from tests.browser.fixtures import browser  # noqa: F401
from tests.browser.page import ScriptFailed

HTML = """<!doctype html><title>Try</title>
<meta name=viewport content="width=device-width"><body><input id=text><input id=file type=file>
<button onclick="console.log('pressed', text.value)">Press</button>
<script>text.onkeydown = event => { if (event.key === 'Enter') document.title = text.value; }</script>"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("pages")
    (folder / "index.html").write_text(HTML)
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_page_is_read_written_clicked_and_pictured(browser: Browser, url: str, tmp_path: Path) -> None:  # noqa: F811
    with browser.page() as page:
        page.open(url)
        page.click("#text")
        page.write("hello")
        page.click("button")
        assert page.wait_for("document.activeElement.tagName") == "BUTTON"
        assert page.console == ["log: pressed hello"]
        page.click("#text")
        page.press("Enter")
        page.wait_for("document.title === 'hello'")
        (tmp_path / "a.txt").write_text("abc")
        page.choose_files("#file", tmp_path / "a.txt")
        assert page.run("file.files[0].text()") == "abc"
        page.resize(320, 400, scale=2, mobile=True)
        page.prefer(color_scheme="dark")
        assert page.run("[innerWidth, matchMedia('(prefers-color-scheme: dark)').matches]") == [320, True]
        page.screenshot(tmp_path / "page.png")
        assert Image.open(tmp_path / "page.png").size == (640, 800)
        assert page.requests[0] == url


def test_errors_of_a_page_are_seen(browser: Browser, url: str) -> None:  # noqa: F811
    with browser.page() as page:
        page.open(url)
        page.run("setTimeout(() => { throw new Error('lost') }); console.warn('careful')")
        page.wait_for("true")
        page.listen(0.2)
        assert page.console == ["warning: careful"]
        assert any("Error: lost" in error for error in page.errors)
        with pytest.raises(ScriptFailed, match="none is not defined"):
            page.run("none()")


def test_nothing_but_this_machine_can_be_reached(browser: Browser, url: str) -> None:  # noqa: F811
    with browser.page() as page:
        page.open(url)
        with pytest.raises(ScriptFailed, match="Failed to fetch"):
            page.run("fetch('http://example.com/', {mode: 'no-cors'})")
        page.listen(0.1)
        assert any("ERR_NAME_NOT_RESOLVED" in error for error in page.errors)
        assert page.requests[-1] == "http://example.com/"
