"""What a client learns that asks for a path without a route, and HEAD where there is GET."""

from __future__ import annotations

import httpx
import pytest


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/chat/completions", "/v1/chat/completions? The client's base URL has to end in /v1"),
        ("/models", "/v1/models?"),
        ("/v1/v1/models", "/v1/models? The path has /v1 twice"),
        ("/v1/chat/completions/", "/v1/chat/completions, without a slash"),
        ("/v1/models/", "/v1/models, without a slash"),
        ("/v1/chat/completion", "/v1/chat/completions?"),
        ("/v1/Chat/Completions", "/v1/chat/completions?"),
        ("/v1/embeddings", "/docs"),
        ("/" + "x" * 5_000, "/docs"),
    ],
)
async def test_a_path_without_a_route_is_answered_with_what_was_meant(
    client: httpx.AsyncClient, path: str, hint: str
) -> None:
    answer = await client.post(path, json={}) if path.startswith("/v1/c") else await client.get(path)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (404, "not_found")
    assert hint in error["hint"]


async def test_a_hint_repeats_nothing_of_the_path(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/chat/completionz-<script>")
    assert "script" not in answer.text


@pytest.mark.parametrize("path", ["/health", "/livez", "/v1/models", "/v1/models/echo", "/metrics", "/docs"])
async def test_monitors_may_use_head(client: httpx.AsyncClient, path: str) -> None:
    head, get = await client.head(path), await client.get(path)
    assert head.status_code == get.status_code == 200
    assert head.headers["content-type" if get.content else "x-request-id"]


async def test_the_documentation_lists_no_head(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert not [path for path, operations in paths.items() if "head" in operations]


async def test_sagemakers_probe_answers_as_health_does(client: httpx.AsyncClient) -> None:
    ping = await client.get("/ping")
    assert (ping.status_code, ping.content) == (200, b"")
