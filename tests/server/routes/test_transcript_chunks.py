"""A streamed transcript in vLLM's chunks, for forms with vLLM's fields, and its limit of tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import httpx
import numpy as np
import pytest

from antiphon_server.http.app import create_app
from antiphon_server.media.loader import MediaLoader
from tests.echo_engine import EchoEngine, Script
from tests.server.parts import make_service
from tests.server.routes.test_transcriptions import SENTENCES, Recording, ask, sent
from tests.server.test_pauses import silence, spoken


@pytest.fixture
def engine(checkpoint: Path) -> EchoEngine:
    made = EchoEngine(checkpoint)
    made.scripts.extend(Script(answer=sentence) for sentence in SENTENCES)
    return made


@pytest.fixture
async def client(checkpoint: Path, engine: EchoEngine) -> AsyncIterator[httpx.AsyncClient]:
    samples = np.concatenate([part for _ in SENTENCES for part in (spoken(1.0), silence(1.0))])
    made = make_service(checkpoint, engine, chat={"heard_pieces": 1})
    service = dataclasses.replace(made, media=cast("MediaLoader", Recording(samples)))
    transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


VLLM = {"stream": "True", "stream_include_usage": "True"}


async def test_a_form_of_vllms_bench_gets_vllms_chunks(client: httpx.AsyncClient) -> None:
    """As `vllm bench serve --backend openai-audio` sends it: it reads `choices`, and the usage at the end."""
    fields = {**VLLM, "stream_continuous_usage_stats": "True", "max_completion_tokens": "64"}
    body = (await ask(client, chunking_strategy="auto", language="en", **fields)).content
    assert body.endswith(b"data: [DONE]\n\n")
    *chunks, last, usage = sent(body.removesuffix(b"data: [DONE]\n\n"))
    assert "".join(one["choices"][0]["delta"]["content"] for one in chunks) == " ".join(SENTENCES)
    assert {one["object"] for one in chunks} == {"transcription.chunk"}
    assert {one["model"] for one in chunks} == {"echo"}
    assert last["choices"][0]["finish_reason"] == "stop"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == chunks[-1]["usage"]["completion_tokens"] > 0
    assert usage["usage"]["total_tokens"] > usage["usage"]["completion_tokens"]


async def test_vllms_chunks_have_no_usage_that_nothing_asks_for(client: httpx.AsyncClient) -> None:
    body = (await ask(client, stream="true", stream_include_usage="false")).content
    chunks = sent(body.removesuffix(b"data: [DONE]\n\n"))
    assert all("usage" not in one and one["choices"] for one in chunks)


async def test_a_limit_of_tokens_cuts_each_piece(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    body = (await ask(client, max_completion_tokens="2", **VLLM)).content
    *_, last, usage = sent(body.removesuffix(b"data: [DONE]\n\n"))
    assert engine.requests[-1].text.max_tokens == 2
    assert last["choices"][0]["finish_reason"] == "length"
    assert usage["usage"]["completion_tokens"] == 2
