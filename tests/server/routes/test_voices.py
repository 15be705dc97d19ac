"""Voices are listed with what a client needs to choose; requested voices are used, mapped or rejected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from antiphon_executor.interface.card import Voice
from antiphon_server.chat.voices import OPENAI_VOICES, choose_voice
from antiphon_server.errors import BadRequest
from antiphon_server.http.app import create_app
from antiphon_server.openai_api.options import VoiceReference
from tests.echo_engine import VOICE_TABLE, EchoEngine, echo_card
from tests.server.parts import make_service

KEY = "canary-key-voices"
RECORDING = {"reference_audio": "data:audio/wav;base64,UklGRg==", "reference_text": "hello there"}


def spoken(voice: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": "hello"}],
        "modalities": ["text", "audio"],
        "audio": {"voice": voice, "format": "pcm16"},
    }


async def test_no_voice_can_be_made(client: httpx.AsyncClient) -> None:
    files = {"audio_sample": ("me.wav", b"RIFF", "audio/wav")}
    answer = await client.post("/v1/audio/voices", data={"name": "me", "consent": "c"}, files=files)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "voice_cloning_unsupported", None)
    assert "ethan" in error["hint"]


async def test_every_voice_is_listed_with_its_language_and_licence(client: httpx.AsyncClient) -> None:
    body = (await client.get("/v1/audio/voices")).json()
    assert body["object"] == "list"
    assert body["voices"] == [
        {"id": "ethan", "name": "Ethan", "language": "en", "licence": "CC0-1.0", "default": True},
        {"id": "chelsie", "name": "chelsie", "language": None, "licence": None, "default": False},
        {"id": "aiden", "name": "aiden", "language": None, "licence": None, "default": False},
    ]


async def test_a_model_without_a_talker_has_none(checkpoint: Path) -> None:
    app = create_app(make_service(checkpoint, EchoEngine(checkpoint, speaks=False)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        assert (await client.get("/v1/audio/voices")).json() == {"object": "list", "voices": []}


async def test_the_list_needs_a_key_like_everything_else(checkpoint: Path) -> None:
    app = create_app(make_service(checkpoint, server={"api_keys": [KEY]}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        assert (await client.get("/v1/audio/voices")).status_code == 401
        keyed = await client.get("/v1/audio/voices", headers={"authorization": f"Bearer {KEY}"})
    assert keyed.status_code == 200


async def test_the_schema_describes_the_list_and_the_ways_to_name_a_voice(client: httpx.AsyncClient) -> None:
    schema = (await client.get("/openapi.json")).json()
    answers = schema["paths"]["/v1/audio/voices"]["get"]["responses"]["200"]["content"]
    assert answers["application/json"]["schema"] == {"$ref": "#/components/schemas/VoiceList"}
    listed = schema["components"]["schemas"]["Voice"]["properties"]
    assert set(listed) == {"id", "name", "language", "licence", "default"}
    assert all(field["description"] for field in listed.values())
    assert "reference_audio" in str(schema["paths"]["/v1/chat/completions"]) + str(schema["components"])


@pytest.mark.parametrize(
    "names", [RECORDING, {"ref_audio": "UklGRg==", "ref_text": "hi"}, {"ref_audio": "x"}]
)
async def test_given_a_recording_then_the_refusal_says_why_and_what_to_do(
    client: httpx.AsyncClient, engine: EchoEngine, names: dict[str, str]
) -> None:
    answer = await client.post("/v1/chat/completions", json=spoken(names))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (
        400, "voice_cloning_unsupported", "audio.voice"
    )  # fmt: skip
    assert "codec encoder" in error["message"]
    assert "ethan, chelsie, aiden" in error["hint"]
    assert "/v1/audio/voices" in error["hint"]
    assert engine.started == 0


@pytest.mark.parametrize(
    ("voice", "code", "param"),
    [
        ({"reference_text": "no sound"}, "missing_required_parameter", "audio.voice.reference_audio"),
        ({**RECORDING, "pitch": 2}, "unsupported_parameter", "audio.voice"),
        ({"id": "ethan", "speed": 2}, "unsupported_parameter", "audio.voice"),
        ({}, "missing_required_parameter", "audio.voice.id"),
        (5, "invalid_value", "audio.voice"),
        ("Cherry", "invalid_value", "audio.voice"),
    ],
)
async def test_given_what_is_no_voice_then_the_refusal_names_the_part(
    client: httpx.AsyncClient, voice: Any, code: str, param: str
) -> None:
    answer = await client.post("/v1/chat/completions", json=spoken(voice))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, code)
    assert error["param"].startswith(param)


def test_openais_names_are_spread_over_the_models_voices(tmp_path: Path) -> None:
    card = echo_card(tmp_path)
    chosen = [choose_voice(name, card) for name in OPENAI_VOICES]
    assert chosen[:4] == ["ethan", "chelsie", "aiden", "ethan"]


def test_a_voice_of_the_model_outranks_openais_name_for_another(tmp_path: Path) -> None:
    card = replace(echo_card(tmp_path), voice_table=(*VOICE_TABLE, Voice("coral", "Coral")))
    assert choose_voice("coral", card) == "coral"
    assert choose_voice(None, card) == "ethan"


def test_a_recording_is_refused_whatever_it_holds(tmp_path: Path) -> None:
    with pytest.raises(BadRequest):
        choose_voice(VoiceReference(reference_audio="x"), echo_card(tmp_path))
