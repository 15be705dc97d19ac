"""The documentation works offline, and the schema describes the real responses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import httpx
import pytest

PARTS = ("docs.js", "swagger-ui.css", "swagger-ui-bundle.js")


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = [value for name, value in attrs if name in ("src", "href") and value]
        self.found += [value for value in given if not value.startswith("data:")]


async def test_the_page_needs_no_other_host_and_its_parts_are_there(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    links = Links()
    links.feed(page.text)
    assert len(links.found) >= 3
    for link in links.found:
        part = await client.get(httpx.URL("http://localhost/docs").join(link))
        assert part.status_code == 200, link
        # Swagger UI names the specifications that it implements; the policy keeps it from asking any host.
        assert "swagger-ui" in link or not re.search(r"https?://", part.text), link
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", page.text)


@pytest.mark.skipif(shutil.which("node") is None, reason="the page's scripts run in Node")
async def test_swagger_ui_gets_our_document_and_asks_no_other_host(client: httpx.AsyncClient) -> None:
    """The bundle defines what our script calls; by default it would ask a validator of another host."""
    bundle, script = [
        (await client.get(f"/docs/{name}")).text for name in ("swagger-ui-bundle.js", "docs.js")
    ]
    program = """
    const vm = require("vm"), [bundle, script] = JSON.parse(require("fs").readFileSync(0));
    const page = vm.createContext({});
    vm.runInContext("var window = globalThis, self = globalThis, navigator = {}, location = {};", page);
    vm.runInContext("var form = { addEventListener() {} }, document = { getElementById: () => form };", page);
    vm.runInContext("var fetch = async () => ({ status: 200 });", page);
    vm.runInContext("SwaggerUIBundle = (options) => { given = options; };" + script, page);
    const defined = /SwaggerUIBundle/.test(bundle.slice(0, 2000));
    setImmediate(() => console.log(JSON.stringify({ defined, given: page.given })));
    """
    done = subprocess.run(  # noqa: ASYNC221  # nothing else runs here
        ["node", "-e", program],
        input=json.dumps([bundle, script]),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["defined"]
    assert (found["given"]["url"], found["given"]["validatorUrl"]) == ("openapi.json", None)
    assert found["given"]["tryItOutEnabled"]


@pytest.mark.skipif(shutil.which("node") is None, reason="the page's scripts run in Node")
async def test_a_server_with_keys_shows_the_reference_to_those_who_have_one(
    client: httpx.AsyncClient,
) -> None:
    """The key that is entered goes with the document's request and with every call."""
    program = """
    const vm = require("vm"), script = require("fs").readFileSync(0, "utf8"), seen = [];
    const output = {}, field = { value: "wrong" };
    const form = {
      addEventListener(_, listener) { this.submit = listener; },
      querySelector: () => output,
      elements: { key: field },
    };
    const page = vm.createContext({
      document: { getElementById: () => form },
      fetch: async (_, { headers }) => ({ status: headers.Authorization === "Bearer right" ? 200 : 401 }),
      SwaggerUIBundle: (options) => { page.given = options; },
    });
    const settled = () => new Promise((done) => setImmediate(done));
    const enter = (key) => { field.value = key; form.submit({ preventDefault() {}, target: form }); };
    const see = () => seen.push([form.hidden, output.textContent, Boolean(page.given)]);
    (async () => {
      vm.runInContext(script, page);
      await settled(); see();
      enter("wrong"); await settled(); see();
      enter(" right "); await settled(); see();
      const call = page.given.requestInterceptor({ url: "x", headers: { a: "b" } });
      console.log(JSON.stringify({ seen, call }));
    })();
    """
    done = subprocess.run(  # noqa: ASYNC221  # nothing else runs here
        ["node", "-e", program],
        input=(await client.get("/docs/docs.js")).text,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["seen"][0] == [False, "", False]
    assert found["seen"][1] == [False, "This API key is not valid.", False]
    assert found["seen"][2][::2] == [True, True]
    assert found["call"]["headers"] == {"Authorization": "Bearer right", "a": "b"}


@pytest.mark.parametrize(
    "path", ["/docs", "/docs/docs.js", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"]
)
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
