"""Accessibility of every state of the page, by axe, in both themes, wide and narrow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from antiphon_server.chat.service import Service
from tests.browser.chromium import Browser
from tests.browser.fixtures import browser  # noqa: F401
from tests.browser.page import Page
from tests.conformance.homes import PAGE_TOOLS, CannotInstall
from tests.echo_engine import EchoEngine
from tests.page.echo_server import echo_server
from tests.page.stage import opened
from tests.server.parts import make_service
from tests.tiny_checkpoint import write_tiny_checkpoint

pytestmark = pytest.mark.serial

AXE = """axe.run(document, {resultTypes: ['violations']}).then(
  found => found.violations.map(({id, nodes: [node]}) => `${id}: ${node.target} ${node.failureSummary}`))"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = write_tiny_checkpoint(tmp_path_factory.mktemp("axe"))
    service: Service = make_service(folder, EchoEngine(folder))
    with echo_server(service) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:  # noqa: F811
    with browser.page() as page:
        page.resize(1440, 900)
        opened(page, url)
        yield page


@pytest.fixture(scope="module")
def axe() -> str:
    try:
        PAGE_TOOLS.install()
    except CannotInstall as error:
        pytest.skip(str(error))
    return (PAGE_TOOLS.folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 390)])
def test_axe_finds_nothing(page: Page, axe: str, theme: str, width: int) -> None:
    page.resize(width, 900, mobile=width < 500)
    page.prefer(color_scheme=theme, reduced_motion="reduce")
    page.run(axe + "; true")
    assert page.run(AXE) == []
    page.run("antiphon.settings.set({speaks: false})")
    page.click("#message")
    page.write("What is two plus three?")
    page.press("Enter")
    page.wait_for("antiphon.conversation.turns[1]?.run.isOver", 60)
    if width < 900:
        assert page.run(AXE) == []
        page.click("#panel-button")
    for tab in ("timing", "settings", "compare", "code", "log"):
        page.click(f"#tab-{tab}")
        page.listen(0.3)
        assert page.run(AXE) == [], tab
    page.click("#history-button")
    assert page.run(AXE) == []
