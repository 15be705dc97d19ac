"""Media from the client's JSON to the engine's arrays, through the real decoders."""

from __future__ import annotations

import base64
import dataclasses
import errno
import io
import os
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ
from antiphon_server.http.app import create_app
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.policy import MediaPolicy
from tests.echo_engine import EchoEngine
from tests.server.parts import make_service

URL = "/v1/chat/completions"


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def tone_wav(hz: float, seconds: float, rate_hz: int = 24_000) -> bytes:
    samples = (np.sin(2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz) * 16_000).astype("<i2")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return out.getvalue()


def png(colour: tuple[int, int, int]) -> str:
    out = io.BytesIO()
    Image.new("RGB", (64, 96), colour).save(out, "PNG")
    return "data:image/png;base64," + base64_of(out.getvalue())


@pytest.fixture
async def client(checkpoint: Path, engine: EchoEngine) -> AsyncIterator[httpx.AsyncClient]:
    media = MediaLoader(MediaPolicy())
    await media.start()
    service = dataclasses.replace(make_service(checkpoint, engine), media=media)
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client
    await media.close()


def ask(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [*parts, {"type": "text", "text": "hello"}]}]}


async def test_a_tool_can_return_a_picture(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    parts = [
        {"type": "text", "text": "seen: "},
        {"type": "image_url", "image_url": {"url": png((255, 0, 0))}},
    ]
    messages = [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": parts},
    ]
    answer = await client.post(URL, json={"messages": messages})
    assert answer.status_code == 200, answer.text
    [request] = engine.requests
    [picture] = request.media.images
    assert picture.pixels[0, 0].tolist() == [255, 0, 0]
    prompt = engine._tokenizer.decode(list(request.prompt_token_ids), skip_special_tokens=False)
    assert "<tool_response>\nseen: <|vision_start|><|image_pad|><|vision_end|>\n</tool_response>" in prompt


async def test_sound_and_pictures_and_frames_reach_the_engine_in_order(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    red, blue = (255, 0, 0), (0, 0, 255)
    answer = await client.post(
        URL,
        json=ask(
            {"type": "image_url", "image_url": {"url": png(red)}},
            {"type": "input_audio", "input_audio": {"data": base64_of(tone_wav(440, 0.5)), "format": "wav"}},
            {"type": "image_url", "image_url": {"url": png(blue)}},
            {"type": "video", "video": [png(red), png(blue), png(red), png(blue)], "fps": 2},
        ),
    )
    assert answer.status_code == 200, answer.text
    media = engine.requests[-1].media
    assert [tuple(picture.pixels[10, 10]) for picture in media.images] == [red, blue]
    assert len(media.audios[0].samples) == pytest.approx(INPUT_SAMPLE_RATE_HZ / 2, abs=32)
    assert len(media.videos[0].frames) == 4
    assert answer.json()["usage"]["prompt_tokens_details"]["audio_tokens"] == 7


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "no base64 at all!", "format": "wav"}},
        {"type": "input_audio", "input_audio": {"data": base64_of(b"not a wav file"), "format": "wav"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "http://example.org/cat.png"}},
    ],
)
async def test_media_that_is_refused_names_its_part_and_reaches_no_engine(
    client: httpx.AsyncClient, engine: EchoEngine, part: dict[str, Any]
) -> None:
    good = {"type": "image_url", "image_url": {"url": png((1, 2, 3))}}
    answer = await client.post(URL, json=ask(good, part))
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"].startswith("messages[0].content[1]")
    assert engine.started == 0


async def test_a_picture_that_finds_no_descriptor_is_503_and_the_next_one_is_answered(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    body = ask({"type": "image_url", "image_url": {"url": png((9, 9, 9))}})
    with monkeypatch.context() as shortage:
        shortage.setattr(os, "memfd_create", refused)
        answer = await client.post(URL, json=body)
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    assert (await client.post(URL, json=body)).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_audio_over_the_context_is_a_400_before_the_stream_begins(
    checkpoint: Path, engine: EchoEngine, stream: bool
) -> None:
    media = MediaLoader(MediaPolicy(audio_seconds=1_000))
    await media.start()
    media.set_geometry(engine.card.media, engine.card.context_tokens)
    service = dataclasses.replace(make_service(checkpoint, engine), media=media)
    transport = httpx.ASGITransport(create_app(service))
    sound = base64_of(tone_wav(440, 400, 8_000))
    body = ask({"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}}) | {"stream": stream}
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.post(URL, json=body)
    finally:
        await media.close()
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages[0].content[0]")
    assert "lasts 400 s and takes 5,199 tokens" in error["message"]
    assert "context of 4,096 tokens. 314 s of it would fit" in error["message"]
    assert engine.started == 0


async def test_media_whose_length_was_not_known_are_checked_before_the_engine(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    """The loader of this fixture knows no context."""
    sound = base64_of(tone_wav(440, 299, 8_000))
    many = [{"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}}] * 2
    answer = await client.post(URL, json=ask(*many) | {"stream": True})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert engine.started == 0
