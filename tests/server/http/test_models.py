"""The model list, and the error for a model that is not served."""

from __future__ import annotations

from pathlib import Path

import httpx
import openai
import pytest

from antiphon_server.chat.service import Service
from antiphon_server.errors import NotFound
from antiphon_server.http.app import create_app
from antiphon_server.http.routes.models import require_model
from tests.echo_engine import VOICES, EchoEngine
from tests.server.parts import make_service


async def test_openais_client_lists_and_finds_the_model(service: Service) -> None:
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport) as http:
        client = openai.AsyncOpenAI(api_key="x", base_url="http://localhost/v1", http_client=http)
        models = (await client.models.list()).data
        found = await client.models.retrieve(models[0].id)
        with pytest.raises(openai.NotFoundError) as caught:
            await client.models.retrieve("other")
    assert [model.id for model in models] == ["echo"]
    assert found == models[0]
    assert caught.value.code == "model_not_found"
    assert "available models: echo" in caught.value.message


async def test_modalities_and_voices_are_the_cards(client: httpx.AsyncClient) -> None:
    model = (await client.get("/v1/models")).json()["data"][0]
    assert model["input_modalities"] == ["text", "audio", "image", "video"]
    assert model["output_modalities"] == ["text", "audio"]
    assert model["voices"] == list(VOICES)


async def test_a_model_without_a_talker_offers_text_alone(checkpoint: Path) -> None:
    service = make_service(checkpoint, EchoEngine(checkpoint, speaks=False))
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.get("/v1/models")).json()["data"][0]["output_modalities"] == ["text"]


async def test_no_path_of_the_machine_is_shown(client: httpx.AsyncClient, checkpoint: Path) -> None:
    assert str(checkpoint) not in (await client.get("/v1/models")).text


def test_a_request_may_leave_its_model_out(service: Service) -> None:
    require_model(service, None)
    require_model(service, "echo")
    with pytest.raises(NotFound) as caught:
        require_model(service, "x" * 10_000)
    assert len(caught.value.message) < 200
