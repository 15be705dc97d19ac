"""`POST /v1/completions`, as a client sees it: prompts of every kind, choices, chunks, errors."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import httpx
import openai
import pytest

from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.chat.service import Service
from antiphon_server.http.app import create_app
from tests.echo_engine import EchoEngine, Script

URL = "/v1/completions"
BENCH = {
    "model": "echo",
    "prompt": "hello world",
    "repetition_penalty": 1.0,
    "max_tokens": 16,
    "logprobs": None,
    "stream": True,
    "stream_options": {"include_usage": True},
    "ignore_eos": True,
    "temperature": 0.0,
}
"""As `vllm bench serve --backend vllm` sends it."""


async def ask(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post(URL, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def stream(client: httpx.AsyncClient, **body: Any) -> list[dict[str, Any]]:
    answer = await client.post(URL, json={**body, "stream": True})
    assert answer.status_code == 200, answer.text
    frames = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line.startswith("data: ")]
    assert frames.pop() == "[DONE]"
    return [json.loads(frame) for frame in frames]


def joined(chunks: list[dict[str, Any]]) -> dict[int, str]:
    texts: dict[int, str] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
    return texts


@pytest.fixture
def answering(engine: EchoEngine) -> EchoEngine:
    """The echo engine repeats what a chat prompt says. A raw prompt says nothing to it."""
    engine.script = Script(answer="and so on")
    return engine


async def test_a_prompt_is_continued_in_openais_format(
    client: httpx.AsyncClient, answering: EchoEngine
) -> None:
    answer = await ask(client, prompt="hello world")
    assert (answer["object"], answer["id"][:5], answer["model"]) == ("text_completion", "cmpl-", "echo")
    assert answer["choices"] == [{"index": 0, "text": "and so on", "logprobs": None, "finish_reason": "stop"}]
    [request] = answering.requests
    assert answer["usage"]["prompt_tokens"] == len(request.prompt_token_ids)
    assert (request.text.max_tokens, request.speech) == (16, None)


async def test_the_prompt_has_no_template_and_its_control_tokens_count(
    client: httpx.AsyncClient, answering: EchoEngine
) -> None:
    text = "<|im_start|>user\nhello"
    tokens = (await client.post("/tokenize", json={"prompt": text})).json()["tokens"]
    await ask(client, prompt=text)
    await ask(client, prompt=tokens)
    assert [list(request.prompt_token_ids) for request in answering.requests] == [tokens, tokens]


@pytest.mark.parametrize("streamed", [False, True])
async def test_each_prompt_has_its_choices_in_order(
    client: httpx.AsyncClient, answering: EchoEngine, streamed: bool
) -> None:
    prompts = [f"number {number}" for number in range(10)]
    body = {"prompt": prompts, "n": 2, "echo": True}
    if streamed:
        texts = joined(await stream(client, **body))
        assert sorted(texts) == list(range(20))
        found = [texts[index] for index in range(20)]
    else:
        choices = (await ask(client, **body))["choices"]
        assert [choice["index"] for choice in choices] == list(range(20))
        found = [choice["text"] for choice in choices]
    assert found == [f"{prompt}and so on" for prompt in prompts for _ in range(2)]


async def test_usage_is_that_of_all_prompts(client: httpx.AsyncClient, answering: EchoEngine) -> None:
    one = (await ask(client, prompt="hello world"))["usage"]
    two = (await ask(client, prompt=["hello world"] * 2))["usage"]
    assert {name: two[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")} == {
        name: 2 * one[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")
    }


async def test_bodies_of_vllms_benchmark_are_answered_in_chunks(
    client: httpx.AsyncClient, answering: EchoEngine
) -> None:
    chunks = await stream(client, **BENCH)
    assert joined(chunks)[0].startswith("and so on")
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == BENCH["max_tokens"]
    assert all("usage" not in chunk for chunk in chunks[:-1])


async def test_log_probabilities_name_each_token_and_where_it_begins(
    client: httpx.AsyncClient, answering: EchoEngine
) -> None:
    [choice] = (await ask(client, prompt="x", logprobs=2))["choices"]
    found = choice["logprobs"]
    assert "".join(found["tokens"]) == choice["text"]
    for token, offset in zip(found["tokens"], found["text_offset"], strict=True):
        assert choice["text"][offset:].startswith(token)
    assert len(found["token_logprobs"]) == len(found["top_logprobs"]) == len(found["tokens"])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["x", 5]}, "prompt[1]"),
        ({"prompt": [1, "x"]}, "prompt[1]"),
        ({"prompt": ["x", ""]}, "prompt[1]"),
        ({"prompt": ["x"] * 33}, "prompt"),
        ({"prompt": [9_999_999]}, "prompt"),
        ({"prompt": "<|audio_pad|>"}, "prompt"),
        ({"prompt": "x " * 9_000}, "prompt"),
        ({"prompt": "x", "suffix": "y"}, "suffix"),
        ({"prompt": "x", "best_of": 2}, "best_of"),
        ({"prompt": "x", "max_tokens": -1}, "max_tokens"),
        ({"prompt": "x", "echo": True, "logprobs": 1}, "echo"),
        ({"prompt": "x", "stream_options": {"include_usage": True}}, "stream_options"),
        ({"prompt": "x", "messages": []}, "messages"),
        ({"prompt": "x", "model": "other"}, "model"),
    ],
)
async def test_a_wrong_body_is_refused_by_name(
    client: httpx.AsyncClient, body: dict[str, Any], param: str
) -> None:
    answer = await client.post(URL, json=body)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize("streamed", [False, True])
async def test_one_failed_prompt_ends_the_others_and_the_answer(
    client: httpx.AsyncClient, engine: EchoEngine, streamed: bool
) -> None:
    engine.scripts.extend([Script(answer="a", hang_at=1), Script(fault_at=1)])
    answer = await client.post(URL, json={"prompt": ["x", "y"], "stream": streamed})
    assert "error" in answer.text
    assert "[DONE]" not in answer.text
    assert (answer.status_code == 200) == streamed
    assert engine.running == 0


async def test_openais_client_reads_both_forms(service: Service, answering: EchoEngine) -> None:
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport) as http:
        client = openai.AsyncOpenAI(api_key="x", base_url="http://localhost/v1", http_client=http)
        whole = await client.completions.create(model="echo", prompt="hello")
        pieces = await client.completions.create(model="echo", prompt="hello", stream=True)
        text = "".join([chunk.choices[0].text async for chunk in pieces])
    assert whole.choices[0].text == text == "and so on"


@pytest.mark.parametrize(("per_key", "choices"), [(2, 1), (0, 2)])
@pytest.mark.parametrize("streamed", [False, True])
async def test_prompts_of_one_request_do_not_wait_for_each_other_past_the_deadline(
    service: Service, answering: EchoEngine, per_key: int, choices: int, streamed: bool
) -> None:
    answering.script = Script(answer="and so on", delay_s=0.06)
    capacity = Capacity(4, 1, 64, 3600.0, 0.2, 1 << 30, requests_per_key=per_key)
    slow = dataclasses.replace(service, admission=AdmissionController(capacity))
    transport = httpx.ASGITransport(create_app(slow))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        body = {"prompt": ["a", "b", "c", "d", "e", "f"], "n": choices, "stream": streamed}
        answer = await client.post(URL, json=body)
    assert answer.status_code == 200, answer.text
    assert "error" not in answer.text


@pytest.mark.parametrize("streamed", [False, True])
async def test_prompts_that_are_together_over_the_keys_rate_are_refused_before_one_runs(
    service: Service, answering: EchoEngine, streamed: bool
) -> None:
    prompts = ["hello world"] * 3
    one = len(await service.prompts.tokenize(prompts[0]))
    capacity = Capacity(4, 1, 64, 3600.0, 1.0, 1 << 30, tokens_per_minute=100 * one)
    admission = AdmissionController(capacity, clock=lambda: 0.0)
    # Enough for two of them, one after the other.
    admission.rates.debit("", 98 * one - 1)
    metered = dataclasses.replace(service, admission=admission)
    transport = httpx.ASGITransport(create_app(metered))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post(URL, json={"prompt": prompts, "max_tokens": 1, "stream": streamed})
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert not answering.requests
        assert "retry-after" in answer.headers
        admission.rates.debit("", -90 * one)
        answer = await client.post(URL, json={"prompt": prompts, "max_tokens": 1, "stream": streamed})
        assert answer.status_code == 200
    assert len(answering.requests) == 3


async def test_a_keys_rate_pays_once_for_each_of_several_prompts(
    service: Service, answering: EchoEngine
) -> None:
    answering.script = Script(answer="and so on")
    capacity = Capacity(4, 1, 64, 3600.0, 1.0, 1 << 30, tokens_per_minute=1_000)
    admission = AdmissionController(capacity, clock=lambda: 0.0)
    metered = dataclasses.replace(service, admission=admission)
    transport = httpx.ASGITransport(create_app(metered))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post(URL, json={"prompt": ["hello world", "and you"]})
    assert admission.rates.tokens.remaining("") == 1_000 - answer.json()["usage"]["total_tokens"]
