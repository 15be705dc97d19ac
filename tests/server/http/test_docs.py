"""The documentation works offline, and the schema describes the real responses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import httpx
import pytest


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("src", "href") and value]


async def test_the_page_needs_no_other_host_and_its_parts_are_there(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    links = Links()
    links.feed(page.text)
    assert len(links.found) >= 3
    for link in links.found:
        part = await client.get(httpx.URL("http://localhost/docs").join(link))
        assert part.status_code == 200, link
        assert not re.search(r"https?://", part.text), link
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", page.text)


TYPES_OF_THE_REQUEST = """
const vm = require("vm"), [script, root] = JSON.parse(require("fs").readFileSync(0));
const document = { getElementById: () => ({}) }, fetch = () => new Promise(() => {});
const page = vm.createContext({ document, fetch });
vm.runInContext(script, page);
const body = root.paths["/v1/chat/completions"].post.requestBody.content["application/json"].schema;
const types = Object.entries(body.properties).map(([name, field]) => [name, page.typeOf(field, root)]);
console.log(JSON.stringify(Object.fromEntries(types)));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="the page's script runs in Node")
async def test_the_page_finds_the_types_that_the_schema_points_to(client: httpx.AsyncClient) -> None:
    given = json.dumps([(await client.get("/docs/docs.js")).text, (await client.get("/openapi.json")).json()])
    done = subprocess.run(  # noqa: ASYNC221  # nothing else runs here
        ["node", "-e", TYPES_OF_THE_REQUEST],
        input=given,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    types = json.loads(done.stdout)
    assert types["messages"] == "(SystemMessage | UserMessage | AssistantMessage | ToolMessage)[]"
    assert types["audio"] == "AudioOptions | null"
    assert [name for name, type_ in types.items() if "any" in type_] == []


@pytest.mark.parametrize("path", ["/docs", "/docs/docs.js", "/docs/docs.css"])
async def test_the_page_may_load_nothing_but_itself(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["docs.html", "../config.py", "__init__.py", "%2e%2e/config.py"])
async def test_no_other_file_can_be_asked_for(client: httpx.AsyncClient, name: str) -> None:
    response = await client.get(f"/docs/{name}")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


async def test_the_schema_has_our_envelope_and_never_fastapis(client: httpx.AsyncClient) -> None:
    schema = (await client.get("/openapi.json")).json()
    text = str(schema)
    assert "HTTPValidationError" not in text
    assert "'422'" not in text
    responses = schema["paths"]["/v1/chat/completions"]["post"]["responses"]
    assert responses["4XX"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorBody")
    for reference in re.findall(r"'\$ref': '#/components/schemas/([^']+)'", text):
        assert reference in schema["components"]["schemas"], reference


async def test_what_is_wrong_in_a_request_is_a_400(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/chat/completions", content=b"{not json")
    assert response.status_code == 400
    assert set(response.json()["error"]) >= {"message", "type", "param", "code"}


async def test_an_unknown_path_and_a_wrong_method_are_in_the_envelope(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/nothing")).json()["error"]["code"] == "not_found"
    wrong = await client.put("/v1/models")
    assert (wrong.status_code, wrong.json()["error"]["code"], wrong.headers["allow"]) == (
        405,
        "method_not_allowed",
        "GET",
    )
