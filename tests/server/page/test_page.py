"""The files of the page at `/`: what is served without a key, under which policy, and how much it weighs."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from antiphon_server.http.app import create_app
from antiphon_server.page.files import FOLDER, page_files
from antiphon_server.page.routes import paths
from tests.server.parts import make_service

KEY = "canary-key-91bd"
MOST_BYTES = 300_000


def client_of(checkpoint: Path, **server: object) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(make_service(checkpoint, server=server)))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


async def test_the_page_and_its_parts_are_served_under_a_strict_policy(client: httpx.AsyncClient) -> None:
    for path in paths():
        answer = await client.get(path)
        assert answer.status_code == 200, path
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_nothing_of_it_is_inline_or_from_another_host(client: httpx.AsyncClient) -> None:
    page = (await client.get("/")).text
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=|javascript:", page)
    for name, file in page_files().items():
        if not name.endswith(".wav"):
            assert set(re.findall(r"https?://[\w.]+", file.body.decode())) <= {"http://www.w3.org"}, name


async def test_it_weighs_less_than_300_kb_and_names_no_absolute_path() -> None:
    assert sum(len(file.body) for file in page_files().values()) < MOST_BYTES
    for name, file in page_files().items():
        if name.endswith((".html", ".js")):
            assert not re.search(r"""(?:href|src|fetch\(|address\()=?["'(]/""", file.body.decode()), name


async def test_what_is_kept_is_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/page/main.js")
    again = await client.get("/page/main.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/page/types.d.ts", "/page/none.js", "/page/index.html", "/page/../files.py"]
)
async def test_no_other_file_is_served(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_without_the_page_its_paths_are_not_there(checkpoint: Path) -> None:
    async with client_of(checkpoint, page=False) as client:
        for path in paths():
            assert (await client.get(path)).status_code == 404, path
        assert "/docs" in (await client.get("/")).json()["error"]["hint"]
        assert 'href="."' not in (await client.get("/docs")).text
        assert (await client.get("/docs")).status_code == 200


async def test_the_documentation_links_to_the_page_and_back(client: httpx.AsyncClient) -> None:
    assert 'href="."' in (await client.get("/docs")).text
    assert 'href="docs"' in (await client.get("/")).text


async def test_with_a_key_its_own_files_and_nothing_else_need_none(checkpoint: Path) -> None:
    async with client_of(checkpoint, api_keys=[KEY]) as client:
        for path in paths():
            assert (await client.get(path)).status_code == 200, path
        assert 'data-key="needed"' in (await client.get("/")).text
        for path in ("/page/none.js", "/page", "/page/", "/v1/models", "/openapi.json", "/page/../v1/models"):
            assert (await client.get(path)).status_code == 401, path


async def test_without_a_key_it_asks_for_none(client: httpx.AsyncClient) -> None:
    assert 'data-key="none"' in (await client.get("/")).text


def test_every_script_is_used_and_has_its_types_checked() -> None:
    texts = {path: path.read_text() for path in FOLDER.rglob("*.js")}
    page = (FOLDER / "index.html").read_text()
    for path, text in texts.items():
        assert len(text.splitlines()) <= 260, path
        others = page + "".join(one for other, one in texts.items() if other != path)
        assert path.name in others, path
        assert text.startswith("// @ts-check\n/** ") or path.name == "first-theme.js", path
