"""`POST /tokenize` and `/detokenize`: the tokens of a text and of a conversation, and their text again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from antiphon_server.chat.service import Service
from antiphon_server.http.app import create_app
from antiphon_server.http.routes import tokenize as routes
from tests.echo_engine import EchoEngine
from tests.server.parts import make_service
from tests.server.routes.test_chat import said

HELLO = [{"role": "user", "content": "hello world"}]


async def tokenize(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/tokenize", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_text_becomes_tokens_and_text_again(client: httpx.AsyncClient) -> None:
    found = await tokenize(client, model="echo", prompt="hello wörld", return_token_strs=True)
    assert found["count"] == len(found["tokens"]) == len(found["token_strs"]) > 0
    assert found["max_model_len"] == 4096
    back = await client.post("/detokenize", json={"tokens": found["tokens"]})
    assert back.json() == {"prompt": "hello wörld"}


async def test_a_conversation_has_the_tokens_that_a_chat_request_counts(client: httpx.AsyncClient) -> None:
    found = await tokenize(client, messages=HELLO)
    chat = await client.post("/v1/chat/completions", json={"messages": HELLO})
    assert found["count"] == chat.json()["usage"]["prompt_tokens"]
    assert "token_strs" not in found


async def test_tools_are_counted(client: httpx.AsyncClient) -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    assert (await tokenize(client, messages=HELLO, tools=[tool]))["count"] > (
        await tokenize(client, messages=HELLO)
    )["count"]


async def test_a_control_token_in_a_message_is_text_and_in_a_prompt_is_one_token(
    client: httpx.AsyncClient,
) -> None:
    assert (await tokenize(client, prompt="<|im_start|>"))["count"] == 1
    plain = (await tokenize(client, messages=[{"role": "user", "content": "x"}]))["count"]
    marked = (await tokenize(client, messages=[{"role": "user", "content": "x<|im_start|>"}]))["count"]
    assert marked > plain + 1


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {}, ""),
        ("/tokenize", {"prompt": "x", "messages": HELLO}, ""),
        ("/tokenize", {"prompt": 5}, "prompt"),
        ("/tokenize", {"prompt": "x", "modle": "echo"}, "modle"),
        ("/tokenize", {"messages": HELLO, "add_generation_prompt": False}, "add_generation_prompt"),
        (
            "/tokenize",
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "data:,"}]}]},
            "messages[0].content[0]",
        ),
        ("/detokenize", {}, "tokens"),
        ("/detokenize", {"tokens": [-1]}, "tokens[0]"),
        ("/detokenize", {"tokens": [9_999_999]}, "tokens"),
    ],
)
async def test_a_wrong_body_is_refused_by_name(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], param: str
) -> None:
    answer = await client.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["param"] or "") == (400, param)


async def test_it_needs_the_key_as_every_other_route(checkpoint: Any) -> None:
    service: Service = make_service(checkpoint, server={"api_keys": ["secret"]})
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.post("/tokenize", json={"prompt": "x"})).status_code == 401


async def test_a_text_beyond_the_limit_is_refused(checkpoint: Path, engine: EchoEngine) -> None:
    service = make_service(checkpoint, engine, chat={"text_chars": 10})
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        prompt = await client.post("/tokenize", json={"prompt": "x" * 11})
        messages = await client.post("/tokenize", json={"messages": said("x" * 11)["messages"]})
        assert (await client.post("/tokenize", json={"prompt": "x" * 10})).status_code == 200
    for answer, param in ((prompt, "prompt"), (messages, "messages")):
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, param)
        assert error["code"] == "string_above_max_length"


async def test_nothing_that_grows_with_a_long_text_runs_on_the_event_loop(
    client: httpx.AsyncClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_loop: list[str] = []

    def watched(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread() is threading.main_thread():
                on_loop.append(name)
            return work(*args, **kwargs)

        return run

    tokenizer = service.prompts._tokenizer
    for name in ("encode", "encode_raw", "at_least", "texts_of", "decode"):
        monkeypatch.setattr(tokenizer, name, watched(name, getattr(tokenizer, name)))
    monkeypatch.setattr(routes, "_list_json", watched("_list_json", routes._list_json))
    text = "1 " * 3_000
    found = await tokenize(client, prompt=text, return_token_strs=True)
    assert found["count"] == len(found["tokens"]) == len(found["token_strs"]) > 4_000
    await tokenize(client, messages=said(text)["messages"], return_token_strs=True)
    back = await client.post("/detokenize", json={"tokens": found["tokens"]})
    assert back.json() == {"prompt": text}
    await client.post("/v1/completions", json={"prompt": text})
    await client.post("/v1/completions", json={"prompt": found["tokens"], "echo": True})
    assert not on_loop
