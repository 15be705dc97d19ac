"""Promises of the interface beside the order of events: what the model is shown, secrets, voices."""

from __future__ import annotations

import base64
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from antiphon_server.chat.service import Service
from antiphon_server.http.app import create_app
from tests.echo_engine import EchoEngine
from tests.server.parts import make_service
from tests.server.realtime_client import RealtimeClient, tone

KEYED = {"server": {"api_keys": ["secret"], "limits": {}}}
TEXT = {"type": "realtime", "output_modalities": ["text"]}


@pytest.fixture
def app(service: Service) -> FastAPI:
    return create_app(service)


def prompt_of(engine: EchoEngine) -> str:
    ids = list(engine.requests[-1].prompt_token_ids)
    prompt: str = engine._tokenizer.decode(ids, skip_special_tokens=False)
    return prompt


async def test_each_role_is_shown_and_the_transcript_of_a_user_is_not(
    app: FastAPI, engine: EchoEngine
) -> None:
    items = [
        ("system", [{"type": "input_text", "text": "Be brief."}]),
        ("user", [{"type": "input_audio", "audio": tone(1.0), "transcript": "never shown"}]),
        ("assistant", [{"type": "output_audio", "transcript": "spoken before"}]),
        ("user", [{"type": "input_text", "text": "and then"}]),
        ("assistant", [{"type": "output_text", "text": "written before"}]),
        ("user", [{"type": "input_text", "text": "now"}]),
    ]
    async with RealtimeClient(app) as client:
        await client.ask("session.update", "session.updated", session=TEXT)
        for role, content in items:
            item = {"type": "message", "role": role, "content": content}
            await client.ask("conversation.item.create", "conversation.item.done", item=item)
        await client.ask("response.create", "response.done")
    prompt = prompt_of(engine)
    assert prompt.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n")
    assert "<|im_start|>assistant\nspoken before<|im_end|>" in prompt
    assert "<|im_start|>assistant\nwritten before<|im_end|>" in prompt
    assert "never shown" not in prompt


async def test_instructions_of_a_response_replace_those_of_the_session_once(
    app: FastAPI, engine: EchoEngine
) -> None:
    async with RealtimeClient(app) as client:
        await client.ask("session.update", "session.updated", session={**TEXT, "instructions": "Be brief."})
        await client.say("one", instructions="Be polite.")
        assert "Be polite." in prompt_of(engine)
        assert "Be brief." not in prompt_of(engine)
        await client.say("two")
        assert prompt_of(engine).startswith("<|im_start|>system\nBe brief.<|im_end|>")


async def test_a_voice_of_openai_is_one_of_the_model(app: FastAPI, engine: EchoEngine) -> None:
    """Some clients ask for one by default."""
    async with RealtimeClient(app) as client:
        session = {"type": "realtime", "audio": {"output": {"voice": "marin"}}}
        await client.ask("session.update", "session.updated", session=session)
        assert (await client.say("hello"))["response"]["status"] == "completed"
        speech = engine.requests[-1].speech
        assert speech is not None
        assert speech.voice in engine.card.voices
        unknown = {"type": "realtime", "audio": {"output": {"voice": "unknown"}}}
        client.send("session.update", session=unknown)
        assert (await client.until("error"))["error"]["param"] == "session.audio.output.voice"


async def test_input_of_16_khz_is_taken_as_it_is(app: FastAPI) -> None:
    sent = (np.random.default_rng(0).standard_normal(16_000) * 3_000).astype("<i2").tobytes()
    listening = {"format": {"type": "audio/pcm", "rate": 16_000}, "turn_detection": None}
    async with RealtimeClient(app) as client:
        session = {"type": "realtime", "audio": {"input": listening}}
        await client.ask("session.update", "session.updated", session=session)
        client.send("input_audio_buffer.append", audio=base64.b64encode(sent).decode())
        item = (await client.ask("input_audio_buffer.commit", "conversation.item.done"))["item"]
        kind = "conversation.item.retrieve"
        kept = (await client.ask(kind, "conversation.item.retrieved", item_id=item["id"]))["item"]
        assert base64.b64decode(kept["content"][0]["audio"]) == sent


@pytest.mark.parametrize(("seconds", "status"), [(9, 400), (10, 200), (7_200, 200), (7_201, 400)])
async def test_a_client_secret_lasts_ten_seconds_to_two_hours(
    checkpoint: Path, seconds: int, status: int
) -> None:
    transport = httpx.ASGITransport(create_app(make_service(checkpoint, **KEYED)))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        body = {"expires_after": {"anchor": "created_at", "seconds": seconds}}
        headers = {"authorization": "Bearer secret"}
        made = await http.post("/v1/realtime/client_secrets", json=body, headers=headers)
    assert made.status_code == status


async def test_a_connection_outlives_the_client_secret_that_opened_it(checkpoint: Path) -> None:
    app, now = create_app(make_service(checkpoint, **KEYED)), [1_000.0]
    app.state.client_secrets.unix_s = lambda: now[0]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        body = {"expires_after": {"anchor": "created_at", "seconds": 60}}
        headers = {"authorization": "Bearer secret"}
        secret = (await http.post("/v1/realtime/client_secrets", json=body, headers=headers)).json()["value"]
    async with RealtimeClient(app, key=secret) as client:
        await client.until("session.created")
        now[0] = 1_061.0
        await client.ask("input_audio_buffer.clear", "input_audio_buffer.cleared")
        async with RealtimeClient(app, key=secret) as late:
            assert late.status == 401
