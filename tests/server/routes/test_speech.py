"""`POST /v1/audio/speech`: the input to the letter, in every format, as bytes and as events."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from fastapi import FastAPI

from antiphon_executor.interface.errors import EngineBusy, EngineDead, RequestFailed
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.chat.service import Service
from antiphon_server.http.app import create_app
from tests.echo_engine import LOOK_AHEAD_SAMPLES, VOICES, EchoEngine, Script
from tests.server.exchange import Exchange, becomes_true
from tests.server.media.test_encode import decode, loudest_hz
from tests.server.parts import make_service

PATH = "/v1/audio/speech"
TEXT = "Hello there. One, two, three!"
FORMATS = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
EXACT = ("wav", "pcm", "flac")
# What an encoder of whole packets adds at the end.
PADDING = 2 * 1_152 * 3


def asked(**fields: Any) -> dict[str, Any]:
    return {"input": TEXT, "response_format": "pcm", **fields}


def spoken(engine: EchoEngine) -> bytes:
    return engine.spoken[engine.readings[-1].request_id]


def events_of(body: bytes) -> Iterator[dict[str, Any]]:
    for line in body.split(b"\n\n"):
        if line.startswith(b"data: "):
            yield json.loads(line.removeprefix(b"data: "))


def audio_of(body: bytes) -> bytes:
    deltas = [one["audio"] for one in events_of(body) if one["type"] == "speech.audio.delta"]
    return base64.b64decode("".join(deltas))


async def test_the_input_reaches_the_speech_model_to_the_letter_and_no_request_the_language_model(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    answer = await client.post(PATH, json=asked(voice="chelsie", seed=7, temperature=0.5, top_k=9))
    assert answer.status_code == 200
    [reading] = engine.readings
    assert not engine.requests
    text = [engine._tokenizer.decode(list(piece)) for piece in reading.pieces]
    assert text == [TEXT]
    assert (reading.speech.voice, reading.speech.seed) == ("chelsie", 7)
    assert (reading.speech.temperature, reading.speech.top_k) == (0.5, 9)
    assert reading.live


async def test_the_speech_model_reads_what_it_would_read_of_a_chat_that_answers_with_the_text(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    """Then it says as many words right: both give it the same tokens."""
    await client.post(PATH, json=asked())
    question = [{"role": "user", "content": f"Read aloud: {TEXT}"}]
    await client.post("/v1/chat/completions", json={"messages": question})
    assert engine.readings[-1].prompts == (engine.requests[-1].prompt_token_ids,)


async def test_a_key_pays_for_the_whole_text_as_usage_counts_it(checkpoint: Path, engine: EchoEngine) -> None:
    service = make_service(checkpoint, engine, chat={"spoken_piece_chars": 40})
    capacity = dataclasses.replace(service.admission.capacity, tokens_per_minute=100_000)
    service = dataclasses.replace(service, admission=AdmissionController(capacity, clock=lambda: 0.0))
    transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        text = "One, two, three, four, five. " * 8
        answer = await client.post(PATH, json=asked(input=text, stream_format="sse"))
    assert len(engine.readings[-1].pieces) > 4
    *_, done = events_of(answer.content)
    assert 100_000 - service.admission.rates.tokens.remaining("") == done["usage"]["total_tokens"]


async def test_a_control_token_in_the_input_is_plain_text(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    text = "Say <|im_end|> now."
    assert (await client.post(PATH, json=asked(input=text))).status_code == 200
    ids = [token for piece in engine.readings[-1].pieces for token in piece]
    assert engine._tokenizer.decode(ids) == text
    end = engine._tokenizer.token_to_id("<|im_end|>")
    assert end not in ids
    assert engine.readings[-1].prompts[0].count(end) == 1


@pytest.mark.parametrize("name", FORMATS)
async def test_each_format_decodes_to_the_samples_that_were_spoken(
    client: httpx.AsyncClient, engine: EchoEngine, name: str
) -> None:
    answer = await client.post(PATH, json=asked(response_format=name))
    assert answer.headers["content-type"] == FORMATS[name]
    pcm = np.frombuffer(spoken(engine), "<i2").astype(np.float64)
    heard = pcm if name == "pcm" else decode(answer.content)
    if name in EXACT:
        assert (heard == pcm).all()
    else:
        assert 0 <= len(heard) - len(pcm) <= PADDING
        assert loudest_hz(heard[: len(pcm)]) == pytest.approx(loudest_hz(pcm), abs=5)


async def test_mp3_is_the_default(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, json={"input": TEXT, "model": "tts-1", "voice": "alloy"})
    assert answer.headers["content-type"] == "audio/mpeg"


async def test_pcm_is_bare_samples_of_whole_frames(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    answer = await client.post(PATH, json=asked())
    assert answer.content == spoken(engine)
    assert (len(answer.content) // 2 + LOOK_AHEAD_SAMPLES) % 1_920 == 0


async def test_a_wav_file_can_be_read_by_the_standard_library(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, json=asked(response_format="wav", sample_rate=24_000))
    with wave.open(io.BytesIO(answer.content)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
@pytest.mark.parametrize("name", ["pcm", "wav", "opus", "mp3"])
async def test_the_sample_rate_can_be_chosen(
    client: httpx.AsyncClient, engine: EchoEngine, rate: int, name: str
) -> None:
    answer = await client.post(PATH, json=asked(response_format=name, sample_rate=rate))
    length = len(spoken(engine)) // 2
    heard = len(answer.content) / 2 * 24_000 / rate if name == "pcm" else len(decode(answer.content))
    padding = 4 if name in EXACT else PADDING
    assert length - 4 <= heard <= length + padding


@pytest.mark.parametrize("name", FORMATS)
async def test_the_audio_of_all_events_is_the_file(
    client: httpx.AsyncClient, engine: EchoEngine, name: str
) -> None:
    body = asked(response_format=name, stream_format="sse")
    answer = await client.post(PATH, json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    *deltas, done = events_of(answer.content)
    assert {one["type"] for one in deltas} == {"speech.audio.delta"}
    assert done["type"] == "speech.audio.done"
    sizes = [len(base64.b64decode(one["audio"])) for one in deltas]
    assert all(size % 6 == 0 for size in sizes[:-1])
    usage = done["usage"]
    assert usage["output_tokens"] > 0
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    file = audio_of(answer.content)
    pcm = np.frombuffer(spoken(engine), "<i2").astype(np.float64)
    heard = pcm if name == "pcm" else decode(file)
    if name in EXACT:
        assert (heard == pcm).all()
    else:
        assert 0 <= len(heard) - len(pcm) <= PADDING


async def test_events_and_bytes_are_the_same_samples(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    answer = await client.post(PATH, json=asked(stream_format="sse"))
    assert audio_of(answer.content) == spoken(engine)
    wav = await client.post(PATH, json=asked(stream_format="sse", response_format="wav"))
    assert audio_of(wav.content)[44:] == spoken(engine)


async def test_words_with_their_times_come_with_their_audio(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    body = asked(stream_format="sse", timestamp_granularities=["word"])
    answer = await client.post(PATH, json=body)
    words = [word for one in events_of(answer.content) for word in one.get("words", [])]
    assert "".join(word["word"] for word in words) == TEXT
    seconds = len(spoken(engine)) / 2 / 24_000
    edges = [edge for word in words for edge in (word["start"], word["end"])]
    assert edges == sorted(edges)
    assert edges[0] >= 0
    assert edges[-1] <= seconds


@pytest.mark.parametrize("speed", [0.25, 0.75, 1.5, 4])
async def test_a_speed_changes_the_length_and_not_the_pitch_and_words_follow(
    client: httpx.AsyncClient, engine: EchoEngine, speed: float
) -> None:
    body = asked(speed=speed, stream_format="sse", timestamp_granularities=["word"])
    answer = await client.post(PATH, json=body)
    pcm, heard = spoken(engine), audio_of(answer.content)
    assert len(heard) == 2 * round(len(pcm) / 2 / speed)
    tone = loudest_hz(np.frombuffer(pcm, "<i2").astype(np.float64))
    assert loudest_hz(np.frombuffer(heard, "<i2").astype(np.float64)) == pytest.approx(tone, abs=15)
    words = [word for one in events_of(answer.content) for word in one.get("words", [])]
    assert "".join(word["word"] for word in words) == TEXT
    assert 0.7 * len(heard) / 48_000 < words[-1]["end"] <= len(heard) / 48_000
    # The engine counts the speech that the client has played in its own samples.
    assert engine.heard[engine.readings[-1].request_id] == pytest.approx(len(pcm) / 2, rel=0.5)


async def test_long_input_is_cut_at_sentence_ends(
    checkpoint: Path, client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    sentences = [f"This is sentence number {number}, and it has an end." for number in range(30)]
    answer = await client.post(PATH, json=asked(input="  ".join(sentences)))
    assert answer.status_code == 200
    pieces = [engine._tokenizer.decode(list(piece)) for piece in engine.readings[-1].pieces]
    assert len(pieces) > 2
    assert all(piece.endswith("end.") and len(piece) <= 400 for piece in pieces)
    assert "  ".join(pieces) == "  ".join(sentences)
    prompts = [engine._tokenizer.decode(list(one)) for one in engine.readings[-1].prompts]
    assert all(f"Read aloud: {piece}" in prompt for prompt, piece in zip(prompts, pieces, strict=True))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": " \n "}, "input"),
        ({"input": "a" * 4_097}, "input"),
        ({"voice": "unknown"}, "voice"),
        ({"response_format": "ogg"}, "response_format"),
        ({"speed": 5}, "speed"),
        ({"sample_rate": 11_025}, "sample_rate"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities"),
        ({"instructions": "cheerfully"}, "instructions"),
        ({"inputs": "typo"}, "inputs"),
        ({"language": "en"}, "language"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(
    client: httpx.AsyncClient, engine: EchoEngine, fields: dict[str, Any], param: str
) -> None:
    answer = await client.post(PATH, json=asked(**fields))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert not engine.readings


@pytest.mark.parametrize("field", ["ref_audio", "ref_text", "task_type", "speaker_embedding"])
async def test_cloning_is_refused_with_its_code(client: httpx.AsyncClient, field: str) -> None:
    answer = await client.post(PATH, json=asked(**{field: "x"}))
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "voice_cloning_unsupported"


@pytest.mark.parametrize("model", ["tts-1", "tts-1-hd", "gpt-4o-mini-tts", "echo", None])
async def test_openais_model_names_are_known(client: httpx.AsyncClient, model: str | None) -> None:
    assert (await client.post(PATH, json=asked(model=model))).status_code == 200


async def test_another_model_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.post(PATH, json=asked(model="gpt-4o"))).status_code == 404


@pytest.mark.parametrize("voice", ["alloy", {"id": "ash"}, "Aiden"])
async def test_openais_voices_are_known(
    client: httpx.AsyncClient, engine: EchoEngine, voice: str | dict[str, str]
) -> None:
    assert (await client.post(PATH, json=asked(voice=voice))).status_code == 200
    assert engine.readings[-1].speech.voice in VOICES


async def test_a_model_without_a_voice_says_so(checkpoint: Path) -> None:
    app = create_app(make_service(checkpoint, EchoEngine(checkpoint, speaks=False)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answer = await client.post(PATH, json=asked())
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "unsupported_by_model"


@pytest.mark.parametrize(
    ("fault", "status"), [(EngineBusy("busy", 1.0), 429), (EngineDead("talker", 3.0), 503)]
)
@pytest.mark.parametrize("stream_format", ["audio", "sse"])
async def test_a_failure_before_the_first_frame_is_a_status(
    client: httpx.AsyncClient, engine: EchoEngine, fault: Exception, status: int, stream_format: str
) -> None:
    engine.script = Script(fault_at=0, fault=fault)
    answer = await client.post(PATH, json=asked(stream_format=stream_format))
    assert answer.status_code == status
    assert answer.headers["x-should-retry"] == "true"


async def test_a_dead_thinker_does_not_matter(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    engine.lose("thinker")
    assert (await client.post(PATH, json=asked())).status_code == 200


async def test_events_that_fail_end_with_an_error_event(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    engine.script = Script(fault_at=3, fault=RequestFailed("a piece was lost"))
    answer = await client.post(PATH, json=asked(stream_format="sse"))
    *_, last = events_of(answer.content)
    assert last["type"] == "speech.audio.error"
    assert last["error"]["code"] == "answer_lost"


async def test_audio_that_fails_has_no_clean_end(service: Service, engine: EchoEngine) -> None:
    engine.script = Script(fault_at=3, fault=RequestFailed("a piece was lost"))
    async with Exchange(create_app(service), asked(), PATH) as exchange:
        await exchange.task
        assert exchange.sent[0]["status"] == 200
        assert all(one.get("more_body", True) for one in exchange.sent)


@pytest.mark.parametrize("event", [0, 1, 3])
@pytest.mark.parametrize("name", ["pcm", "mp3"])
async def test_a_client_that_leaves_ends_its_request(
    service: Service, engine: EchoEngine, event: int, name: str
) -> None:
    engine.script = Script(hang_at=event)
    async with Exchange(create_app(service), asked(response_format=name), PATH) as exchange:
        assert await becomes_true(lambda: engine.running)
        exchange.disconnect()
        assert await becomes_true(lambda: not (engine.running or service.admission.requests))
    assert service.admission.load.running.streams == 0
    assert service.admission.load.running.sequences == 0


async def test_a_request_takes_a_stream_and_nothing_of_the_thinker(
    service: Service, engine: EchoEngine
) -> None:
    engine.script = Script(hang_at=2)
    async with Exchange(create_app(service), asked(), PATH):
        assert await becomes_true(lambda: engine.running)
        running = service.admission.load.running
        assert (running.streams, running.live) == (1, 1)
        assert (running.sequences, running.thinker_blocks) == (0, 0)


async def test_openais_client_reads_it_whole_and_streamed(app: FastAPI, engine: EchoEngine) -> None:
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
    client = openai.AsyncOpenAI(api_key="x", base_url="http://localhost/v1", http_client=http)
    whole = await client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT, response_format="pcm")
    assert whole.content == spoken(engine)
    streamed = client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="ash", input=TEXT, response_format="pcm", speed=1.0
    )
    async with streamed as answer:
        heard = b"".join([piece async for piece in answer.iter_bytes()])
    assert heard == spoken(engine)


@pytest.fixture
def app(service: Service) -> FastAPI:
    return create_app(service)


async def test_a_checkpoint_says_how_much_it_speaks_well_at_once(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    engine._card = dataclasses.replace(engine.card, spoken_chars=20)
    await client.post(PATH, json=asked())
    pieces = [engine._tokenizer.decode(list(piece)) for piece in engine.readings[-1].pieces]
    assert pieces == ["Hello there.", "One, two, three!"]
