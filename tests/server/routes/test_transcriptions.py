"""`POST /v1/audio/transcriptions` and `/translations`: forms, formats, pieces in order, silence, limits."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import openai
import pytest
from numpy.typing import NDArray

from antiphon_executor.interface.card import Listening
from antiphon_executor.interface.errors import RequestFailed
from antiphon_executor.interface.media import AudioClip
from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.chat.service import Service
from antiphon_server.http.app import create_app
from antiphon_server.media.budget import ReserveBytes
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.source import MediaSource
from tests.echo_engine import EchoEngine, Script
from tests.server.exchange import becomes_true
from tests.server.parts import make_service
from tests.server.test_pauses import silence, spoken

PATH = "/v1/audio/transcriptions"
FILE = {"file": ("speech.wav", b"RIFF of a recording", "audio/wav")}
SENTENCES = ("The first one.", "The second, longer.", "And the third.")


class Recording:
    """A loader that decodes any file to the same samples."""

    def __init__(self, samples: NDArray[np.float32]) -> None:
        self.samples = samples
        self.files: list[bytes] = []

    async def load_samples(self, source: MediaSource, hold: ReserveBytes) -> AudioClip:
        assert source.stored is not None
        with source.stored.open() as file:
            self.files.append(file.read())
        hold(self.samples.nbytes)
        return AudioClip(self.samples)


@pytest.fixture
def recording() -> Recording:
    return Recording(np.concatenate([part for _ in SENTENCES for part in (spoken(1.0), silence(1.0))]))


@pytest.fixture
def engine(checkpoint: Path) -> EchoEngine:
    made = EchoEngine(checkpoint)
    made.scripts.extend(Script(answer=sentence) for sentence in SENTENCES)
    return made


@pytest.fixture
def service(checkpoint: Path, engine: EchoEngine, recording: Recording) -> Service:
    made = make_service(checkpoint, engine, chat={"heard_pieces": 1})
    return dataclasses.replace(made, media=cast("MediaLoader", recording))


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def ask(client: httpx.AsyncClient, path: str = PATH, **fields: Any) -> httpx.Response:
    return await client.post(path, files=FILE, data=fields)


def sent(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in body.split(b"\n\n") if line.startswith(b"data: ")]


async def test_a_short_recording_is_heard_as_one_piece(
    client: httpx.AsyncClient, engine: EchoEngine, recording: Recording
) -> None:
    answer = await ask(client, model="whisper-1")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["text"] == SENTENCES[0]
    usage = body["usage"]
    assert usage["type"] == "tokens"
    assert usage["input_tokens"] == sum(usage["input_token_details"].values())
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert recording.files == [b"RIFF of a recording"]
    [request] = engine.requests
    assert request.speech is None
    assert request.text.temperature == 0
    assert request.text.repetition_detection is not None
    assert engine.text_of(request) == "Transcribe the audio into text."
    assert len(request.media.audios[0].samples) == len(recording.samples)


async def test_pieces_are_heard_each_and_joined_in_order(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    answer = await ask(client, chunking_strategy="auto")
    assert answer.json()["text"] == " ".join(SENTENCES)
    assert len(engine.requests) == 3
    assert all(len(request.media.audios[0].samples) < 1.6 * 16_000 for request in engine.requests)
    assert all((request.text.max_tokens or 0) < 100 for request in engine.requests)


async def test_pieces_side_by_side_stay_in_order(checkpoint: Path, recording: Recording) -> None:
    engine = EchoEngine(checkpoint)
    engine.scripts.extend(
        Script(answer=sentence, delay_s=0.05 / number) for number, sentence in enumerate(SENTENCES, start=1)
    )
    service = make_service(checkpoint, engine, chat={"heard_pieces": 3})
    app = create_app(dataclasses.replace(service, media=cast("MediaLoader", recording)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answer = await ask(client, chunking_strategy="auto")
    assert answer.json()["text"] == " ".join(SENTENCES)


async def test_verbose_json_has_a_segment_for_each_piece(client: httpx.AsyncClient) -> None:
    body = (await ask(client, response_format="verbose_json", language="en")).json()
    assert (body["task"], body["language"]) == ("transcribe", "en")
    assert body["duration"] == 6.0
    assert body["text"] == " ".join(SENTENCES)
    assert body["usage"] == {"type": "duration", "seconds": 6.0}
    assert [segment["text"] for segment in body["segments"]] == list(SENTENCES)
    for number, segment in enumerate(body["segments"]):
        assert segment["id"] == number
        assert 2 * number - 0.35 <= segment["start"] <= 2 * number
        assert 2 * number + 1 <= segment["end"] <= 2 * number + 1.35
        assert segment["seek"] == int(segment["start"] * 100)
        assert segment["tokens"]
        assert 0 <= segment["no_speech_prob"] < 0.1


async def test_subtitles_have_a_cue_for_each_piece(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    srt = await ask(client, response_format="srt")
    assert srt.headers["content-type"].startswith("text/plain")
    cues = srt.text.strip().split("\n\n")
    assert [cue.split("\n")[0] for cue in cues] == ["1", "2", "3"]
    assert [cue.split("\n")[2] for cue in cues] == list(SENTENCES)
    assert " --> 00:00:01,2" in cues[0]
    engine.scripts.extend(Script(answer=sentence) for sentence in SENTENCES)
    vtt = await ask(client, response_format="vtt")
    assert vtt.headers["content-type"].startswith("text/vtt")
    assert vtt.text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.2")


async def test_text_is_text(client: httpx.AsyncClient) -> None:
    answer = await ask(client, response_format="text")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text == f"{SENTENCES[0]}\n"


async def test_a_stream_has_deltas_and_the_whole_text(client: httpx.AsyncClient) -> None:
    answer = await ask(client, stream="true", chunking_strategy="auto")
    assert answer.headers["content-type"].startswith("text/event-stream")
    *deltas, done = sent(answer.content)
    assert {one["type"] for one in deltas} == {"transcript.text.delta"}
    assert "".join(one["delta"] for one in deltas) == " ".join(SENTENCES)
    assert len(deltas) > 3
    assert (done["type"], done["text"]) == ("transcript.text.done", " ".join(SENTENCES))
    assert done["usage"]["output_tokens"] > 0


async def test_logprobs_come_with_json(client: httpx.AsyncClient) -> None:
    body = (await client.post(PATH, files=FILE, data={"include[]": "logprobs"})).json()
    assert "".join(one["token"] for one in body["logprobs"]) == SENTENCES[0]


@pytest.mark.parametrize("fields", [{}, {"chunking_strategy": "auto"}, {"response_format": "verbose_json"}])
async def test_silence_gives_an_empty_text_without_asking_the_model(
    client: httpx.AsyncClient, engine: EchoEngine, recording: Recording, fields: dict[str, str]
) -> None:
    recording.samples = silence(5)
    answer = await ask(client, **fields)
    assert answer.status_code == 200
    assert answer.json()["text"] == ""
    assert not engine.requests


async def test_a_silent_stream_ends_with_an_empty_text(
    client: httpx.AsyncClient, recording: Recording
) -> None:
    recording.samples = silence(5)
    (done,) = sent((await ask(client, stream="true")).content)
    assert done["text"] == ""


async def test_hints_are_in_the_prompt_and_not_in_the_instruction(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    await client.post(
        PATH, files=FILE, data={"prompt": "A talk on soup", "keywords[]": ["ladle", "pot"], "language": "de"}
    )
    prompt = engine._tokenizer.decode(list(engine.requests[-1].prompt_token_ids), skip_special_tokens=False)
    assert "system\nA talk on soup\nladle, pot" in prompt
    assert engine.text_of(engine.requests[-1]) == "Transcribe the German audio into text."


async def test_a_vad_object_is_read_in_both_spellings(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    keyed = {"chunking_strategy[type]": "server_vad", "chunking_strategy[silence_duration_ms]": "1500"}
    assert (await client.post(PATH, files=FILE, data=keyed)).status_code == 200
    assert len(engine.requests) == 1
    written = json.dumps({"type": "server_vad", "silence_duration_ms": 1500})
    assert (await ask(client, chunking_strategy=written)).status_code == 200
    assert len(engine.requests) == 2


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"language": "xx"}, "language"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"response_format": "srt", "stream": "true"}, "response_format"),
        ({"timestamp_granularities[]": "word", "response_format": "verbose_json"}, None),
        ({"timestamp_granularities[]": "segment"}, "timestamp_granularities"),
        ({"known_speaker_names[]": "Ada"}, "known_speaker_names"),
        ({"temperature": "2"}, "temperature"),
        ({"include[]": "logprobs", "response_format": "text"}, "include"),
        ({"modle": "x"}, "modle"),
        ({"chunking_strategy[type]": "server_vad", "chunking_strategy[threshold]": "1.5"}, None),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(
    client: httpx.AsyncClient, engine: EchoEngine, fields: dict[str, str], param: str | None
) -> None:
    answer = await client.post(PATH, files=FILE, data=fields)
    assert answer.status_code == 400
    found = answer.json()["error"]["param"]
    assert found == param if param else found.startswith(next(iter(fields)).partition("[")[0])
    assert not engine.requests


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        ([("language", "en"), ("language[]", "de")], "language"),
        ([("language[]", "de"), ("language", "en")], "language"),
        ([("include[a]", "x"), ("include[]", "y")], "include"),
        ([("include[]", "logprobs"), ("include[a]", "x")], "include"),
        ([("keywords[a]", "x"), ("keywords", "y")], "keywords"),
        ([("chunking_strategy", "auto"), ("chunking_strategy[]", "auto")], "chunking_strategy"),
        ([("chunking_strategy[type]", "server_vad"), ("chunking_strategy[type]", "x")], "chunking_strategy"),
        ([("chunking_strategy", '{"a":' * 40_000)], "chunking_strategy"),
        ([("chunking_strategy", '{"type":' + "[" * 40_000)], "chunking_strategy"),
        ([("chunking_strategy", r'{"type":"\ud800"}')], "chunking_strategy"),
        ([("chunking_strategy", '{"type":[]}')], "chunking_strategy"),
        ([("prompt", '{"a":1}')], "prompt"),
        ([("keywords", "x")] * 200, None),
    ],
)
async def test_an_odd_form_is_refused_by_name(
    client: httpx.AsyncClient, parts: list[tuple[str, str]], param: str | None
) -> None:
    form = [*FILE.items(), *((name, (None, value)) for name, value in parts)]
    answer = await client.post(PATH, files=cast("Any", form))
    assert answer.status_code == 400
    assert (answer.json()["error"]["param"] or "").startswith(param or "")


@pytest.mark.parametrize("name", ["keywords", "keywords[]"])
async def test_a_form_can_have_all_keywords_that_a_list_may_have(
    client: httpx.AsyncClient, engine: EchoEngine, name: str
) -> None:
    words = [f"word{number}" for number in range(100)]
    answer = await client.post(PATH, files=FILE, data={name: words})
    assert answer.status_code == 200, answer.text
    assert "word99" in engine._tokenizer.decode(list(engine.requests[-1].prompt_token_ids))
    more = await client.post(PATH, files=FILE, data={name: [*words, "another"]})
    assert (more.status_code, more.json()["error"]["param"]) == (400, "keywords")


async def test_a_form_without_a_file_and_another_model_are_refused(client: httpx.AsyncClient) -> None:
    missing = await client.post(PATH, files={"model": (None, "echo")})
    assert missing.json()["error"]["param"] == "file"
    assert (await client.post(PATH, files={"file": ("x.wav", b"")})).status_code == 400
    assert (await ask(client, model="gpt-9")).status_code == 404
    assert (await client.post(PATH, json={"file": "x"})).status_code == 415


async def test_a_translation_is_asked_for_in_english(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    answer = await ask(client, "/v1/audio/translations", response_format="verbose_json")
    assert (answer.json()["task"], answer.json()["language"]) == ("translate", "english")
    assert "translation in English" in engine.text_of(engine.requests[-1])


async def test_a_model_that_cannot_translate_says_so(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    engine._card = dataclasses.replace(engine.card, listening=Listening(translate=None, languages=("en",)))
    answer = await ask(client, "/v1/audio/translations")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "unsupported_by_model"
    assert (await ask(client, language="de")).json()["error"]["code"] == "unsupported_by_model"


async def test_a_failure_in_a_later_piece_is_an_error_and_nothing_is_left(
    client: httpx.AsyncClient, engine: EchoEngine, service: Service
) -> None:
    engine.scripts[1] = Script(fault_at=1, fault=RequestFailed("a piece was lost"))
    whole = await ask(client, chunking_strategy="auto")
    assert whole.status_code == 500
    assert whole.json()["error"]["code"] == "answer_lost"
    engine.scripts.clear()
    engine.scripts.extend([Script(answer="One."), Script(fault_at=1, fault=RequestFailed("lost"))])
    streamed = await ask(client, chunking_strategy="auto", stream="true")
    *_, last = sent(streamed.content)
    assert last["error"]["code"] == "answer_lost"
    assert await becomes_true(lambda: not (engine.running or service.admission.requests))
    assert service.admission.load.media_bytes == 0


async def test_openais_client_gets_every_format(service: Service, engine: EchoEngine) -> None:
    app = create_app(service)
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
    client = openai.AsyncOpenAI(api_key="x", base_url="http://localhost/v1", http_client=http)
    create = client.audio.transcriptions.create
    file = ("speech.wav", b"RIFF")
    plain = await create(model="whisper-1", file=file)
    assert plain.text == SENTENCES[0]
    engine.scripts.clear()
    engine.scripts.extend(Script(answer=sentence) for sentence in SENTENCES)
    verbose = await create(
        model="whisper-1", file=file, response_format="verbose_json", timestamp_granularities=["segment"]
    )
    assert [segment.text for segment in verbose.segments or []] == list(SENTENCES)
    engine.scripts.append(Script(answer="Written."))
    assert await create(model="whisper-1", file=file, response_format="text") == "Written.\n"
    engine.scripts.append(Script(answer="Streamed now."))
    stream = await create(model="gpt-4o-transcribe", file=file, stream=True)
    events = [event async for event in stream]
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == "Streamed now."


def limited(service: Service, engine: EchoEngine, heard_pieces: int, **limits: Any) -> httpx.AsyncClient:
    settings = service.settings.model_copy(
        update={"chat": service.settings.chat.model_copy(update={"heard_pieces": heard_pieces})}
    )
    capacity = Capacity(4, 1, 64, 3600.0, 0.3, 1 << 30, **limits)
    made = dataclasses.replace(service, settings=settings, admission=AdmissionController(capacity))
    transport = httpx.ASGITransport(create_app(made))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


@pytest.mark.parametrize("limits", [{"audio_seconds_per_minute": 2.0}, {"tokens_per_minute": 60}])
async def test_a_recording_beyond_a_minutes_limit_is_heard_and_paid_for(
    service: Service, engine: EchoEngine, limits: dict[str, Any]
) -> None:
    async with limited(service, engine, 1, **limits) as client:
        answer = await ask(client, chunking_strategy="auto")
        assert (answer.status_code, answer.json().get("text")) == (200, " ".join(SENTENCES)), answer.text
        assert (await ask(client, chunking_strategy="auto")).status_code == 429


async def test_pieces_of_one_recording_do_not_wait_for_each_other_past_the_deadline(
    service: Service, engine: EchoEngine
) -> None:
    engine.scripts.clear()
    engine.scripts.extend(Script(answer=sentence, delay_s=0.05) for sentence in SENTENCES)
    async with limited(service, engine, 8, requests_per_key=1) as client:
        answer = await ask(client, chunking_strategy="auto")
    assert (answer.status_code, answer.json().get("text")) == (200, " ".join(SENTENCES)), answer.text


async def test_a_recording_of_many_pieces_has_few_tasks(
    service: Service, engine: EchoEngine, recording: Recording
) -> None:
    recording.samples = np.tile(np.concatenate([spoken(1.0), silence(1.0)]), 40)
    engine.scripts.clear()
    engine.script = Script(answer="x", hang_at=0)
    async with limited(service, engine, 2) as client:
        before = len(asyncio.all_tasks())
        asking = asyncio.create_task(ask(client, chunking_strategy="auto"))
        assert await becomes_true(lambda: engine.running == 2)
        assert len(asyncio.all_tasks()) - before < 20
        engine.script.resumed.set()
        assert (await asking).json()["text"] == " ".join(["x"] * 40)
