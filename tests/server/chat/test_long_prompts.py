"""Prompts that cannot fit are refused at little cost, which is charged to their key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.interface.media import AudioClip, Media
from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.chat.prompt import tokenizer as tokenizers
from antiphon_server.chat.prompt.renderer import PromptRenderer, PromptTooLong
from antiphon_server.chat.prompt.tokenizer import PromptTokenizer
from antiphon_server.chat.service import Service
from antiphon_server.config.chat import PromptPolicy
from antiphon_server.errors import Overloaded
from antiphon_server.http.app import create_app
from antiphon_server.media.budget import ReserveBytes
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.source import MediaSource
from tests.echo_engine import EchoEngine
from tests.server.chat.test_prompt import conversation
from tests.server.parts import make_service

CONTEXT = 4_096
MIXED = "The quick brown fox, 漢字 and 🙂. " * 80_000


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of characters that each call encoded."""
    sizes: list[int] = []
    encode = tokenizers._encode

    def counting(tokenizer: tokenizers.Tokenizer, texts: list[str]) -> list[list[int]]:
        sizes.append(sum(map(len, texts)))
        return encode(tokenizer, texts)

    monkeypatch.setattr(tokenizers, "_encode", counting)
    return sizes


@pytest.mark.parametrize(
    "text", ["hello " * 333_333, "a" * 2_000_000, " " * 2_000_000, MIXED, "é" * 1_000_000]
)
async def test_two_million_characters_are_refused_without_being_encoded(
    checkpoint: Path, encoded: list[int], text: str
) -> None:
    prompts = PromptRenderer.from_folder(checkpoint)
    with pytest.raises(PromptTooLong) as refused:
        await prompts.render(conversation({"role": "user", "content": text}), context_tokens=CONTEXT)
    assert refused.value.code == "context_length_exceeded"
    assert sum(encoded) <= 40_000


def test_what_could_begin_control_tokens_costs_no_more_than_other_text(checkpoint: Path) -> None:
    prompts = PromptRenderer.from_folder(checkpoint)
    began = time.thread_time()
    with pytest.raises(PromptTooLong):
        prompts.render_now(conversation({"role": "user", "content": "<" * 2_000_000}), CONTEXT)
    assert time.thread_time() - began < 1


async def test_a_prompt_that_might_fit_is_encoded_no_further_than_its_context(
    checkpoint: Path, encoded: list[int]
) -> None:
    prompts = PromptRenderer.from_folder(checkpoint)
    with pytest.raises(PromptTooLong):
        await prompts.render(conversation({"role": "user", "content": "a" * 60_000}), context_tokens=5_000)
    assert sum(encoded) <= 20_000


@pytest.mark.parametrize(("queued", "refused"), [(1, 1), (2, 0)])
async def test_a_setting_limits_how_many_long_prompts_of_a_key_wait(
    checkpoint: Path, queued: int, refused: int
) -> None:
    prompts = PromptRenderer.from_folder(checkpoint, PromptPolicy(threads=1, queued_per_key=queued))
    long = conversation({"role": "user", "content": "a" * 5_000})
    rendered = await asyncio.gather(*(prompts.render(long, "key") for _ in range(3)), return_exceptions=True)
    assert sum(isinstance(one, Overloaded) for one in rendered) == refused
    assert sum(isinstance(one, tuple) for one in rendered) == 3 - refused


@given(text=st.text(max_size=300), most=st.integers(0, 80))
def test_the_least_is_never_more_than_there_are(checkpoint: Path, text: str, most: int) -> None:
    tokenizer = PromptTokenizer.from_folder(checkpoint)
    assert tokenizer.at_least(text, most) <= max(len(tokenizer.encode(text, "\U0010fffd")), 0)


@pytest.mark.parametrize("text", ["각" * 100, "ᾂ" * 100, "e\u0301" * 100])
def test_text_that_its_normal_form_shortens_is_not_counted_too_long(checkpoint: Path, text: str) -> None:
    tokenizer = PromptTokenizer.from_folder(checkpoint)
    assert tokenizer.at_least(text, 0) <= len(tokenizer.encode(text, "\U0010fffd"))


@pytest.fixture
def limited(checkpoint: Path, engine: EchoEngine) -> Service:
    service = make_service(checkpoint, engine)
    capacity = Capacity(16, 16, 64, 3600.0, 30.0, 1 << 30, tokens_per_minute=100_000)
    return replace(service, admission=AdmissionController(capacity, clock=lambda: 0.0))


async def test_a_refused_prompt_is_charged_to_its_key(limited: Service) -> None:
    transport = httpx.ASGITransport(create_app(limited), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        body = {"messages": [{"role": "user", "content": "a" * 1_900_000}]}
        answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert limited.admission.rates.tokens.remaining("") <= 100_000 - CONTEXT * 0.09


async def test_an_answered_prompt_is_charged_once(limited: Service) -> None:
    transport = httpx.ASGITransport(create_app(limited), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post(
            "/v1/chat/completions", json={"messages": [{"role": "user", "content": "hello"}]}
        )
    used = answer.json()["usage"]["total_tokens"]
    assert 100_000 - limited.admission.rates.tokens.remaining("") == pytest.approx(used, abs=1)


class LongSound:
    """Two minutes of silence for any source."""

    async def load(
        self,
        sources: Sequence[MediaSource],
        hold: ReserveBytes,
        text_tokens: int = 0,
        owner: str = "",
        *_: object,
    ) -> Media:
        return Media((AudioClip(np.zeros(120 * 16_000, np.float32)),) * len(sources), (), ())


async def test_media_that_are_refused_once_they_are_decoded_are_charged_to_their_key(
    limited: Service,
) -> None:
    capacity = replace(limited.admission.capacity, tokens_per_minute=1_000)
    admission = AdmissionController(capacity, clock=lambda: 0.0)
    admission.rates.debit("", 500)
    service = replace(limited, admission=admission, media=cast("MediaLoader", LongSound()))
    sound = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        body = {"messages": [{"role": "user", "content": [sound]}]}
        answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 429
    assert 350 > admission.rates.tokens.remaining("") > 300
