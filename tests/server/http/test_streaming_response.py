"""How an answer ends if the client leaves or stops reading, or the engine fails."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import gc
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import FastAPI

from antiphon_executor.interface.errors import EngineBusy, EngineDead, InvalidRequest
from antiphon_executor.interface.media import Media
from antiphon_server.chat.service import Service
from antiphon_server.errors import BadRequest
from antiphon_server.http.app import create_app
from antiphon_server.media.budget import ReserveBytes
from antiphon_server.media.encode import CODECS, PcmEncoder
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.source import MediaSource
from tests.echo_engine import EchoEngine, Script
from tests.server.exchange import Exchange, becomes_true
from tests.server.parts import CannedMedia, make_service

pytestmark = pytest.mark.promise("R16", "R17", "R19")

ABORT_S = 0.2
HELLO = {"messages": [{"role": "user", "content": "Hello, world: one two three four five six seven."}]}
SPOKEN: dict[str, Any] = {
    **HELLO,
    "modalities": ["text", "audio"],
    "audio": {"voice": "ethan", "format": "pcm16"},
}
STREAMED = {**SPOKEN, "stream": True}


@pytest.fixture
def app(service: Service) -> FastAPI:
    return create_app(service)


async def is_idle(service: Service, engine: EchoEngine, within_s: float = ABORT_S) -> bool:
    """Whether no request is left in the engine or in admission control before the time is up."""
    if not await becomes_true(lambda: not (engine.running or service.admission.requests), within_s):
        return False
    load = service.admission.load
    return load.running.sequences == load.running.streams == 0


@pytest.mark.parametrize("body", [HELLO, SPOKEN, {**HELLO, "stream": True}, STREAMED])
@pytest.mark.parametrize("event", [0, 1, 2, 5, 10])
async def test_a_client_that_leaves_at_any_event_ends_its_request(
    app: FastAPI, service: Service, engine: EchoEngine, body: Any, event: int
) -> None:
    """Given an engine that hangs before an event; when the client leaves; then nothing is left in 200 ms."""
    engine.script = Script(hang_at=event)
    async with Exchange(app, body) as exchange:
        assert await becomes_true(lambda: engine.running)
        await asyncio.sleep(0.02)
        exchange.disconnect()
        assert await is_idle(service, engine)
        assert await becomes_true(exchange.task.done, ABORT_S)
    assert (engine.aborted, engine.finished) == (1, 0)


async def test_a_client_that_leaves_while_it_waits_for_a_slot_gives_its_place_back(
    checkpoint: Path, engine: EchoEngine
) -> None:
    service = make_service(checkpoint, engine)
    app = create_app(service)
    engine.script = Script(hang_at=1)
    running = [Exchange(app, STREAMED) for _ in range(service.admission.capacity.streams)]
    for exchange in running:
        await exchange.__aenter__()
    async with Exchange(app, STREAMED) as waiting:
        assert await becomes_true(lambda: service.admission.load.waiting_speech)
        waiting.disconnect()
        assert await becomes_true(waiting.task.done, ABORT_S)
        assert service.admission.load.waiting_speech == 0
    for exchange in running:
        await exchange.__aexit__()
    assert await is_idle(service, engine)


async def test_two_hundred_random_disconnects_leave_nothing_behind(
    app: FastAPI, service: Service, engine: EchoEngine
) -> None:
    engine.script = Script(delay_s=0.001)

    async def leave_after(seconds: float, body: Any) -> None:
        async with Exchange(app, body) as exchange:
            await asyncio.sleep(seconds)
            exchange.disconnect()
            await asyncio.wait_for(asyncio.shield(exchange.task), 60)

    before = len(asyncio.all_tasks())
    for group in range(20):
        await asyncio.gather(
            *(leave_after(0.002 * ((group * 7 + i * 13) % 25), [SPOKEN, STREAMED][i % 2]) for i in range(10))
        )
    assert await is_idle(service, engine)
    assert engine.started == engine.aborted + engine.finished
    assert engine.aborted > 50
    assert len(asyncio.all_tasks()) == before


async def test_a_client_that_stops_reading_is_given_up(checkpoint: Path, engine: EchoEngine) -> None:
    service = make_service(checkpoint, engine, server={"timeouts": {"stalled_client_s": 0.1}})
    async with Exchange(create_app(service), STREAMED) as exchange:
        await exchange.until(b"transcript")
        exchange.reads.clear()
        assert await is_idle(service, engine, within_s=2.0)
        await asyncio.wait_for(exchange.task, 60)
    assert b"[DONE]" not in exchange.body
    assert 'reason="stalled_client"} 1.0' in service.metrics.render().decode()


async def test_a_client_that_reads_is_not_dropped_because_our_encoder_is_slow(
    checkpoint: Path, engine: EchoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each packet takes longer to encode than a stalled client is given; the client reads at once."""
    service = make_service(checkpoint, engine, server={"timeouts": {"stalled_client_s": 0.2}})

    async def slowly(_: PcmEncoder, pcm: bytes) -> bytes:
        await asyncio.sleep(0.4)
        return pcm

    monkeypatch.setattr(PcmEncoder, "encode_pcm", slowly)
    async with Exchange(create_app(service), STREAMED) as exchange:
        await asyncio.wait_for(exchange.task, 60)
    assert exchange.events[-1] == "[DONE]"
    assert 'reason="stalled_client"} 0.0' in service.metrics.render().decode()


@pytest.mark.parametrize("event", range(12))
async def test_a_fault_at_any_event_is_the_one_end_of_a_stream(
    app: FastAPI, service: Service, engine: EchoEngine, event: int
) -> None:
    """Before the first event it is an HTTP status; later it is the last frame, and there is no `[DONE]`."""
    engine.script = Script(fault_at=event)
    async with Exchange(app, STREAMED) as exchange:
        await asyncio.wait_for(exchange.task, 60)
    assert exchange.is_complete
    if event == 0:
        assert exchange.status == 500
    else:
        assert exchange.status == 200
        assert [e["error"]["code"] for e in exchange.events if "error" in e] == ["internal_error"]
        assert "error" in exchange.events[-1]
        assert "[DONE]" not in exchange.events
    assert b"secret" not in exchange.body
    assert await is_idle(service, engine)


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (InvalidRequest("too long", "messages"), 400, "invalid_turn"),
        (EngineBusy("no room", 2.0), 429, "engine_busy"),
        (EngineDead("talker"), 503, "engine_dead"),
        (RuntimeError("secret"), 500, "internal_error"),
    ],
)
@pytest.mark.parametrize("body", [SPOKEN, STREAMED])
async def test_an_engines_refusal_is_an_http_status(
    app: FastAPI, engine: EchoEngine, body: Any, fault: Exception, status: int, code: str
) -> None:
    engine.script = Script(fault_at=0, fault=fault)
    async with Exchange(app, body) as exchange:
        await asyncio.wait_for(exchange.task, 60)
    assert exchange.status == status
    assert json.loads(exchange.body)["error"]["code"] == code


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_just_stops_is_an_error_and_no_short_answer(
    app: FastAPI, engine: EchoEngine, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """Never silent truncation: an iterator that ends without `SpeechEnded` has failed."""
    whole = EchoEngine._events
    monkeypatch.setattr(EchoEngine, "_events", lambda *args: list(whole(*args))[:-1])
    async with Exchange(app, {**SPOKEN, "stream": stream}) as exchange:
        await asyncio.wait_for(exchange.task, 60)
    assert b'"error"' in exchange.body
    assert b"[DONE]" not in exchange.body


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "status"), [(BadRequest("no", param="messages[0]"), 400), (OSError("secret"), 500)]
)
async def test_media_that_fail_release_the_reservation_and_start_no_engine(
    app: FastAPI,
    service: Service,
    engine: EchoEngine,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
    status: int,
    stream: bool,
) -> None:
    async def load(*_: object) -> Media:
        raise fault

    monkeypatch.setattr(service.media, "load", load)
    part = {"type": "image_url", "image_url": {"url": "data:,"}}
    async with Exchange(
        app, {"messages": [{"role": "user", "content": [part]}], "stream": stream}
    ) as exchange:
        await asyncio.wait_for(exchange.task, 60)
    assert exchange.status == status
    assert b"secret" not in exchange.body
    assert engine.started == 0
    assert await is_idle(service, engine)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_encoder_that_fails_ends_the_answer_with_an_error(
    app: FastAPI, service: Service, engine: EchoEngine, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    faulty = dataclasses.replace(CODECS["mp3"], container_options={"write_xing": "?"})
    monkeypatch.setitem(CODECS, "mp3", faulty)
    body = {**SPOKEN, "audio": {"voice": "ethan", "format": "mp3"}, "stream": stream}
    async with Exchange(app, body) as exchange:
        await asyncio.wait_for(exchange.task, 60)
    assert exchange.status == (200 if stream else 500)
    assert b"could not be encoded" in exchange.body
    assert b"[DONE]" not in exchange.body
    assert await is_idle(service, engine)


async def test_an_engine_that_dies_in_mid_stream_says_so(app: FastAPI, engine: EchoEngine) -> None:
    engine.script = Script(delay_s=0.01)
    async with Exchange(app, STREAMED) as exchange:
        await exchange.until(b"transcript")
        engine.kill("talker")
        await asyncio.wait_for(exchange.task, 60)
    assert exchange.events[-1]["error"]["code"] == "engine_dead"


async def test_a_long_silence_is_filled_with_comments(checkpoint: Path, engine: EchoEngine) -> None:
    """Given a prefill longer than `headers_s`; then headers go out, and comments until the first event."""
    service = make_service(checkpoint, engine, chat={"headers_s": 0.05, "silence_s": 0.05})
    engine.script = Script(delays_s={0: 1.0, 3: 0.5})
    async with Exchange(create_app(service), STREAMED) as exchange:
        await exchange.until(b": keep-alive")
        assert engine.requests
        await asyncio.wait_for(exchange.task, 60)
    assert exchange.body.count(b": keep-alive\n\n") >= 5
    assert exchange.events[-1] == "[DONE]"


async def test_each_delta_goes_out_before_the_next_is_made(app: FastAPI, engine: EchoEngine) -> None:
    """No head-of-line wait: with the engine hanging before event n, everything before n has arrived."""
    engine.script = Script(hang_at=5)
    async with Exchange(app, STREAMED) as exchange:
        await exchange.until(b'"data"')
        assert await becomes_true(lambda: exchange.body.count(b'"data"') == 2)
        said = [e["choices"][0]["delta"].get("audio", {}).get("transcript") for e in exchange.events]
        assert [text for text in said if text] == ["Hell", "o, w"]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_client_sent_is_not_kept_while_the_answer_is_made(
    checkpoint: Path, engine: EchoEngine, stream: bool
) -> None:
    class Forgetful(CannedMedia):
        async def load(
            self,
            sources: Sequence[MediaSource],
            hold: ReserveBytes,
            text_tokens: int = 0,
            owner: str = "",
            *_: object,
        ) -> Media:
            media = await super().load(sources, hold, text_tokens, owner)
            self.loads.clear()
            return media

    service = dataclasses.replace(make_service(checkpoint, engine), media=cast("MediaLoader", Forgetful()))
    engine.script = Script(hang_at=2)
    part = {"type": "image_url", "image_url": {"url": "data:,canary"}}
    body = {
        "messages": [{"role": "user", "content": [part, {"type": "text", "text": "hello"}]}],
        "stream": stream,
    }
    async with Exchange(create_app(service), body):
        assert await becomes_true(lambda: engine.running)
        gc.collect()
        kept = [one for one in gc.get_objects() if type(one) is MediaSource]
        assert not [one for one in kept if one.locations == ("data:,canary",)]


async def test_streaming_headers_keep_proxies_from_buffering(app: FastAPI) -> None:
    async with Exchange(app, STREAMED) as exchange:
        await asyncio.wait_for(exchange.task, 60)
    headers = dict(exchange.sent[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"x-accel-buffering"] == b"no"


async def test_the_engine_gets_reports_of_what_a_client_has_consumed_and_never_more(
    app: FastAPI, engine: EchoEngine
) -> None:
    engine.script = Script(delay_s=0.005)
    async with Exchange(app, STREAMED) as exchange:
        await asyncio.wait_for(exchange.task, 60)
    ((request_id, samples),) = engine.heard.items()
    said = len(engine.spoken[request_id]) // 2
    assert 0 < samples <= said
    assert engine.requests[-1].live


async def test_an_answer_that_is_not_streamed_is_not_live(app: FastAPI, engine: EchoEngine) -> None:
    async with Exchange(app, SPOKEN) as exchange:
        await asyncio.wait_for(exchange.task, 60)
    assert not engine.requests[-1].live
    assert not engine.heard


async def test_speech_made_ahead_of_its_client_goes_out_in_few_packets(
    app: FastAPI, service: Service, engine: EchoEngine
) -> None:
    """Given an engine ten times as fast as speech: far fewer events than frames, and not a byte less."""
    engine.script = Script(delay_s=0.004, answer="One two three four five six seven eight nine ten. " * 8)
    async with Exchange(app, STREAMED) as exchange:
        await asyncio.wait_for(exchange.task, 60)
    audio = [
        (event["choices"] or [{}])[0].get("delta", {}).get("audio", {}) for event in exchange.events[:-1]
    ]
    pieces = [base64.b64decode(one["data"]) for one in audio if "data" in one]
    (pcm,) = engine.spoken.values()
    assert b"".join(pieces) == pcm
    assert all(len(piece) % 6 == 0 for piece in pieces[:-1])
    assert len(pieces) < len(pcm) / 3_840 / 4
    assert b"antiphon_audio_slack_seconds_count" in service.metrics.render()


async def test_speech_that_derailed_ends_as_a_length_and_is_counted(
    app: FastAPI, service: Service, engine: EchoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = EchoEngine._events

    def derail(*args: Any) -> list[Any]:
        *events, end = whole(*args)
        return [*events, dataclasses.replace(end, finish_reason="length", guard_reason="silence")]

    monkeypatch.setattr(EchoEngine, "_events", derail)
    async with Exchange(app, STREAMED) as exchange:
        await asyncio.wait_for(exchange.task, 60)
    reasons = [event["choices"][0]["finish_reason"] for event in exchange.events[:-1] if event["choices"]]
    assert reasons[-1] == "length"
    assert exchange.events[-1] == "[DONE]"
    assert 'antiphon_speech_derailed_total{reason="silence"} 1.0' in service.metrics.render().decode()


async def test_a_client_that_reads_more_slowly_than_speech_plays_is_given_up(
    checkpoint: Path, engine: EchoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client reads a packet of 80 ms in 0.2 s, which is below the 0.5 s for one write."""
    service = make_service(
        checkpoint,
        engine,
        server={"timeouts": {"stalled_client_s": 0.5}},
        chat={"packets": {"longest_s": 0.08}},
    )
    engine.script = Script(delay_s=0.01, answer="One two three four five six seven eight nine ten. " * 8)
    whole = Exchange._send

    async def send_slowly(exchange: Exchange, message: Any) -> None:
        await asyncio.sleep(0.2)
        await whole(exchange, message)

    monkeypatch.setattr(Exchange, "_send", send_slowly)
    async with Exchange(create_app(service), STREAMED) as exchange:
        await asyncio.wait_for(exchange.task, 60)
    assert b"[DONE]" not in exchange.body
    assert 'reason="stalled_client"} 1.0' in service.metrics.render().decode()
    assert await is_idle(service, engine)
