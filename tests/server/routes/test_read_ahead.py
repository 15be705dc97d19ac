"""A long recording is read by the engine while it is decoded, in the slot of its request."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio

from antiphon_executor.interface.media import AudioClip
from antiphon_executor.interface.request import OmniRequest
from antiphon_server.chat import request_start
from antiphon_server.chat.preparation import Preparation
from antiphon_server.chat.service import Service
from antiphon_server.errors import Overloaded
from antiphon_server.http.app import create_app
from antiphon_server.http.routes import chat as chat_route
from antiphon_server.http.streaming import response
from antiphon_server.media.decode import audio, video
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.policy import MediaPolicy
from tests.echo_engine import EchoEngine, EchoReadAhead
from tests.server.media.media_samples import base64_of, ffmpeg, tone, wav
from tests.server.parts import make_service

LONG_S = 2
# Of headers and keep-alives.
QUICK = {"headers_s": 0.05, "silence_s": 0.05}


@dataclasses.dataclass
class Chat:
    client: httpx.AsyncClient
    service: Service

    async def ask(self, *parts: dict[str, Any], **fields: Any) -> httpx.Response:
        content = [*parts, {"type": "text", "text": "What is it?"}]
        body = {"messages": [{"role": "user", "content": content}], **fields}
        return await self.client.post("/v1/chat/completions", json=body)

    def is_idle(self) -> bool:
        load = self.service.admission.load
        return load.running.sequences == load.media_bytes == load.prompt_tokens == 0


def sound(seconds: float) -> dict[str, Any]:
    data = base64_of(wav(np.stack([tone(seconds, 16_000)]), 16_000))
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def opus(seconds: float, cut: int = 0) -> dict[str, Any]:
    """Without the last bytes that are `cut`."""
    file = ffmpeg("-f", "lavfi", "-i", f"sine=duration={seconds}:sample_rate=16000", suffix="ogg")
    return {
        "type": "input_audio",
        "input_audio": {"data": base64_of(file[: len(file) - cut]), "format": "ogg"},
    }


@pytest.fixture
def reading_engine(engine: EchoEngine, monkeypatch: pytest.MonkeyPatch) -> EchoEngine:
    monkeypatch.setattr(audio, "READ_AHEAD_S", LONG_S)
    monkeypatch.setattr(audio, "_READ_AHEAD_BYTES", 1)
    engine._card = dataclasses.replace(engine.card, reads_ahead=True)
    return engine


@pytest_asyncio.fixture
async def chat(checkpoint: Path, reading_engine: EchoEngine) -> AsyncIterator[Chat]:
    media = MediaLoader(MediaPolicy())
    service = dataclasses.replace(make_service(checkpoint, reading_engine, chat=QUICK), media=media)
    transport = httpx.ASGITransport(create_app(service))
    await media.start()
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield Chat(client, service)
    finally:
        await media.close()


@pytest.mark.parametrize("recording", [sound(LONG_S), opus(LONG_S + 0.5)], ids=["wav", "opus"])
async def test_a_long_recording_is_read_ahead_until_its_request_begins(
    chat: Chat, reading_engine: EchoEngine, recording: dict[str, Any]
) -> None:
    answer = await chat.ask(recording)
    assert answer.status_code == 200, answer.text
    [ahead], [request] = reading_engine.read_aheads, reading_engine.requests
    assert ahead.request.prompt_token_ids == request.prompt_token_ids
    assert ahead.request.request_id == request.request_id
    assert not ahead.request.has_media
    [clip] = request.media.audios
    assert isinstance(clip, AudioClip)
    assert clip.key == ahead.key
    assert (ahead.rests, ahead.stopped) == (1, 1)
    assert (request.ahead.read, request.ahead.found) == (100, 7)
    assert chat.is_idle()


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_client_reads_how_far_a_recording_is_decoded_and_read(
    chat: Chat, reading_engine: EchoEngine, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    """Given a slow decoder, then chunks come until the request begins, or comments."""
    decode = audio.AudioDecoder._decode_samples

    async def slowly(self: audio.AudioDecoder, *parts: Any) -> float:
        length_s = await decode(self, *parts)
        await asyncio.sleep(0.3)
        return length_s

    monkeypatch.setattr(audio.AudioDecoder, "_decode_samples", slowly)
    monkeypatch.setattr(response, "PROGRESS_EVERY_S", 0.05)
    options = {"include_progress": wanted}
    answer = await chat.ask(opus(LONG_S + 0.5), stream=True, stream_options=options)
    events = answer.text.split("\n\n")
    before = events[: next(number for number, event in enumerate(events) if '"role":"assistant"' in event)]
    assert before
    if not wanted:
        assert set(before) == {": keep-alive"}
        return
    chunks = [json.loads(event.removeprefix("data: ")) for event in before if event.startswith("data")]
    progress = chunks[-1]["progress"]
    assert chunks[-1]["choices"] == []
    assert progress["decoded_seconds"] == pytest.approx(LONG_S + 0.5, abs=0.1)
    assert progress["prefilled_tokens"] == 50
    assert progress["prompt_tokens"] >= 50


async def test_a_client_reads_how_far_a_video_is_decoded(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    preparation = Preparation()
    monkeypatch.setattr(chat_route, "Preparation", lambda: preparation)
    film = ffmpeg("-f", "lavfi", "-i", "testsrc=s=96x64:d=3:r=10", "-pix_fmt", "yuv420p", suffix="mp4")
    url = {"url": f"data:video/mp4;base64,{base64_of(film)}"}
    assert (await chat.ask({"type": "video_url", "video_url": url})).status_code == 200
    assert preparation.decoding.seconds == pytest.approx(3, abs=0.2)
    assert preparation.decoding.decoded_s == pytest.approx(preparation.decoding.seconds)
    assert preparation.progress() is not None


def film(seconds: float) -> dict[str, Any]:
    picture = ("-f", "lavfi", "-i", f"testsrc=s=96x64:d={seconds}:r=10")
    sound = ("-f", "lavfi", "-i", f"sine=duration={seconds}:sample_rate=16000")
    file = ffmpeg(*picture, *sound, "-pix_fmt", "yuv420p", "-c:a", "aac", suffix="mp4")
    return {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{base64_of(file)}"}, "fps": 5}


async def test_a_long_video_is_read_ahead_while_its_frames_are_written(
    chat: Chat, reading_engine: EchoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "READ_AHEAD_S", LONG_S)
    monkeypatch.setattr(video, "_PIECE_BYTES", 4 * 96 * 64 * 3)
    answer = await chat.ask(film(LONG_S + 1))
    assert answer.status_code == 200, answer.text
    [ahead], [request] = reading_engine.read_aheads, reading_engine.requests
    assert ahead.request.prompt_token_ids == request.prompt_token_ids
    assert not ahead.request.has_media
    [clip] = request.media.videos
    assert isinstance(clip.audio, AudioClip)
    assert ahead.video == dataclasses.replace(clip, audio=None)
    assert clip.audio.key == ahead.key
    assert ahead.frames == sorted(ahead.frames)
    assert ahead.frames[-1] == len(clip.frames) == 15
    assert len(ahead.frames) > 2
    assert (ahead.rests, ahead.stopped) == (1, 1)
    assert (request.ahead.read, request.ahead.found) == (100, 7)
    assert chat.is_idle()
    again = await chat.ask(film(LONG_S + 1))
    assert again.status_code == 200
    assert len(reading_engine.read_aheads) == 1, "its frames are there"


async def test_a_video_is_decoded_and_not_read_while_its_request_waits_for_a_slot() -> None:
    slot = asyncio.get_running_loop().create_future()
    reading = EchoReadAhead(OmniRequest("one", (1,)), "key")

    async def wait() -> None:
        await slot

    frames = request_start._InSlot(reading, asyncio.create_task(wait()))
    frames.frames_written(4)
    await asyncio.sleep(0.01)
    assert reading.frames == []
    slot.set_result(None)
    await asyncio.sleep(0.01)
    assert reading.frames == [4]
    frames.frames_written(8)
    assert reading.frames == [4, 8]


async def test_a_video_whose_request_gets_no_slot_is_not_read() -> None:
    reading = EchoReadAhead(OmniRequest("one", (1,)), "key")

    async def refuse() -> None:
        raise Overloaded("the queue is full", retry_after_s=1)

    frames = request_start._InSlot(reading, asyncio.create_task(refuse()))
    await asyncio.sleep(0.01)
    frames.frames_written(4)
    assert reading.frames == []


async def test_a_video_that_turns_out_damaged_ends_its_reading_and_frees_its_slot(
    chat: Chat, reading_engine: EchoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "READ_AHEAD_S", LONG_S)
    monkeypatch.setattr(video._Intake, "is_met", lambda *_: False)
    answer = await chat.ask(film(LONG_S + 1))
    assert answer.status_code == 400
    [ahead] = reading_engine.read_aheads
    assert ahead.stopped == 1
    assert not reading_engine.requests
    assert chat.is_idle()


async def test_a_short_recording_and_one_among_other_media_are_not_read_ahead(
    chat: Chat, reading_engine: EchoEngine
) -> None:
    for parts in ([sound(LONG_S - 1)], [sound(LONG_S), sound(1)]):
        assert (await chat.ask(*parts)).status_code == 200
    assert not reading_engine.read_aheads


async def test_an_engine_that_cannot_read_ahead_is_not_asked_to(
    chat: Chat, reading_engine: EchoEngine
) -> None:
    reading_engine._card = dataclasses.replace(reading_engine.card, reads_ahead=False)
    assert (await chat.ask(sound(LONG_S))).status_code == 200
    assert not reading_engine.read_aheads


async def test_a_recording_that_turns_out_too_long_ends_its_reading_and_frees_its_slot(
    chat: Chat, reading_engine: EchoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*parts: object) -> None:
        raise audio.damaged_error(parts[1])  # type: ignore[arg-type]

    monkeypatch.setattr(audio.AudioDecoder, "_decode_samples", fails)
    answer = await chat.ask(opus(LONG_S + 0.5))
    assert answer.status_code == 400
    [ahead] = reading_engine.read_aheads
    assert ahead.stopped == 1
    assert not reading_engine.requests
    assert chat.is_idle()
