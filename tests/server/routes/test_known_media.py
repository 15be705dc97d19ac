"""What one key has sent makes no difference to the requests of another."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import httpx
import numpy as np

from antiphon_executor.interface.media import AudioClip, KnownClip
from antiphon_server.http.app import create_app
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.policy import MediaPolicy
from tests.echo_engine import EchoEngine
from tests.server.media.media_samples import base64_of, tone, wav
from tests.server.parts import make_service


async def test_audio_that_another_key_sent_is_decoded_anew(checkpoint: Path, engine: EchoEngine) -> None:
    """The time to an answer says nothing about what others have sent."""
    sound = base64_of(wav(np.stack([tone(1, 16_000)]), 16_000))
    part = {"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}}
    media = MediaLoader(MediaPolicy())
    media.remember_files(60)
    made = make_service(checkpoint, engine, server={"api_keys": ("alice-key", "bob-key")})
    transport = httpx.ASGITransport(create_app(dataclasses.replace(made, media=media)))
    await media.start()
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for key in ("alice-key", "bob-key", "alice-key"):
                answer = await client.post(
                    "/v1/chat/completions",
                    json={"messages": [{"role": "user", "content": [part]}]},
                    headers={"authorization": f"Bearer {key}"},
                )
                assert answer.status_code == 200, answer.text
    finally:
        await media.close()
    clips = [request.media.audios[0] for request in engine.requests]
    assert [type(clip) for clip in clips] == [AudioClip, AudioClip, KnownClip]
