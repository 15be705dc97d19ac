"""A turn's events → an HTTP response, whole or as a stream. A client that leaves ends the turn at once.

In: the events, ASGI's `receive` and `send`. Out: bytes to the client, with exactly one end, or error (R19).
Errors before the first byte are raised, and become an HTTP status elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import cast

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from antiphon_executor.interface.errors import EngineDead
from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ, OmniEvent, SpeechDelta, SpeechEnded
from antiphon_server.chat.request_run import Started
from antiphon_server.chat.request_spec import AnswerForm, AnswerHead
from antiphon_server.chat.response.chunks import ChunkWriter
from antiphon_server.chat.response.completion import CompletionBuilder
from antiphon_server.chat.response.packetizer import Packetizer
from antiphon_server.chat.response.usage import UsageMeter
from antiphon_server.chat.response.word_timestamps import WordTimestamps
from antiphon_server.chat.service import Service
from antiphon_server.http.connection import TIMED_OUT
from antiphon_server.http.error_response import body_of, error_of
from antiphon_server.http.middleware import ClientStalled
from antiphon_server.http.streaming.event_pump import EndOfStream, EventPump, IdleTimeout
from antiphon_server.http.streaming.sse import KEEP_ALIVE, EventStream, frame
from antiphon_server.media.encode import AudioEncoder, encode_file, open_encoder
from antiphon_server.observability.request_trace import log_trace, mark
from antiphon_server.openai_api.response import Chunk

_log = logging.getLogger("antiphon.turn")


class ChatResponse(Response):
    """The response of one chat request. The turn runs while it is being sent, and no longer."""

    media_type = "application/json"

    def __init__(
        self,
        head: AnswerHead,
        form: AnswerForm,
        events: AsyncGenerator[Started | OmniEvent, None],
        service: Service,
        rates: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`rates`: headers that say what the client's key may still use, as the answer begins."""
        super().__init__()
        self._rates = rates
        self._head = head
        self._form = form
        self._events = events
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        deliver = self._stream if self._form.stream else self._answer
        work = asyncio.create_task(deliver(scope, receive, send))
        gone = asyncio.create_task(_client_left(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                timed_out = scope.get("state", {}).get(TIMED_OUT)
                self._service.metrics.request_aborted("stalled_client" if timed_out else "disconnect")
        finally:
            gone.cancel()
            work.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
            log_trace()
        if not work.cancelled():
            work.result()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        form, policy = self._form, self._service.settings.chat
        reply = CompletionBuilder(self._head, form)
        try:
            async with aclosing(self._events) as events:
                async for event in events:
                    if isinstance(event, Started):
                        form, reply = event.form, CompletionBuilder(self._head, event.form)
                    else:
                        reply.see(event)
        except EngineDead:
            self._service.metrics.request_aborted("engine_dead")
            raise
        sound = (
            await encode_file(bytes(reply.pcm), form.audio_format, policy.encode_s) if form.speaks else b""
        )
        body = await asyncio.to_thread(lambda: reply.write(sound).to_json())
        if form.speaks:
            self._service.transcripts.keep(self._head.audio_id, reply.transcript)
        headers = {"cache-control": "no-store", **self._rates()}
        await Response(body, headers=headers, media_type=self.media_type)(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        policy = self._service.settings.chat
        stream = EventStream(send, self._rates)
        headers_at_s = time.monotonic() + policy.headers_s
        try:
            async with EventPump(self._events) as feed:
                form = await self._wait_for_start(feed, stream, headers_at_s)
                audio_format = form.audio_format if form.speaks else "pcm16"
                async with open_encoder(audio_format, policy.encode_s) as sound:
                    answer = _StreamedAnswer(self._head, form, self._service, stream, sound)
                    await answer.send_all(cast("EventPump[OmniEvent]", feed), headers_at_s)
        except ClientStalled:
            raise
        except Exception as error:
            if isinstance(error, EngineDead):
                self._service.metrics.request_aborted("engine_dead")
            if not stream.started:
                raise
            await self._end_with(error, stream)

    async def _wait_for_start(
        self, feed: EventPump[Started | OmniEvent], stream: EventStream, headers_at_s: float
    ) -> AnswerForm:
        """How the answer is written. A client that waits for long gets headers, then comments."""
        while True:
            silence_s = self._service.settings.chat.silence_s
            try:
                event = await feed.next(silence_s if stream.started else _until(headers_at_s))
            except IdleTimeout:
                if stream.started:
                    await stream.send(KEEP_ALIVE)
                else:
                    await stream.start()
            else:
                return event.form if isinstance(event, Started) else self._form

    async def _end_with(self, error: Exception, stream: EventStream) -> None:
        """The last event of a stream that fails: the error, and no `[DONE]`."""
        shown = error_of(error)
        if shown.status >= 500:
            _log.error("turn failed", exc_info=error)
        await stream.end(frame(body_of(shown)))


class _StreamedAnswer:
    """Events in, frames out, until the last one."""

    def __init__(
        self, head: AnswerHead, form: AnswerForm, service: Service, stream: EventStream, sound: AudioEncoder
    ) -> None:
        self._head = head
        self._form = form
        self._service = service
        self._stream = stream
        self._sound = sound
        self._meter = UsageMeter()
        self._writer = ChunkWriter(head, form, self._meter)
        self._captions = WordTimestamps(form)
        self._ramp = Packetizer(
            service.settings.chat.packets, lambda: service.engine.status().frame_time.startup_buffer_s
        )
        self._written_bytes = 0
        self._taken_bytes = 0
        self._behind_s = 0.0

    async def send_all(self, feed: EventPump[OmniEvent], headers_at_s: float) -> None:
        policy, events = self._service.settings.chat, list[OmniEvent]()
        if not self._stream.started:
            events = await self._wait_for_first(feed, _until(headers_at_s))
            await self._stream.start()
        await self._send(self._writer.opening())
        while True:
            await self._send_packet([chunk for event in events for chunk in await self._write(event)])
            held_s = self._ramp.due_in_s(time.monotonic())
            try:
                limit_s = policy.silence_s if held_s is None else min(held_s, policy.silence_s)
                events = [await feed.next(limit_s), *feed.take_waiting()]
            except IdleTimeout:
                events = []
                if held_s is None:
                    await self._stream.send(KEEP_ALIVE)
            except EndOfStream:
                break
        await self._finish()

    async def _wait_for_first(self, feed: EventPump[OmniEvent], limit_s: float) -> list[OmniEvent]:
        """The first event, so that a refusal can still be an HTTP status; nothing after `limit_s`."""
        try:
            return [await feed.next(limit_s)]
        except IdleTimeout:
            return []

    async def _write(self, event: OmniEvent) -> list[Chunk]:
        self._meter.see(event)
        due = self._captions.see(event)
        if isinstance(event, SpeechDelta):
            self._ramp.add(event.pcm, time.monotonic())
            return []
        if isinstance(event, SpeechEnded):
            pcm = self._ramp.flush()
            rest = await self._sound.encode_pcm(pcm) + await self._sound.finish_encoding()
            return [*self._write_sound(pcm, rest), *self._writer.write(event)]
        return [chunk for one in due for chunk in self._writer.write(one)]

    def _write_sound(self, pcm: bytes, sound: bytes) -> list[Chunk]:
        """More speech with its text around it. `sound`: what the encoder has made of it."""
        self._written_bytes += len(pcm)
        samples = self._written_bytes // 2
        text = [chunk for event in self._captions.before(samples) for chunk in self._writer.write(event)]
        return [*text, *self._writer.sound(sound), *self._writer.words(self._captions.behind(samples))]

    async def _send_packet(self, chunks: list[Chunk]) -> None:
        """`chunks`, and the speech that is due. When the socket has taken it, the engine is told."""
        now_s = time.monotonic()
        slack_s, pcm = self._ramp.slack_s(now_s), self._ramp.take(now_s)
        if pcm:
            if slack_s is not None:
                self._service.metrics.packet_sent(slack_s)
            chunks += self._write_sound(pcm, await self._sound.encode_pcm(pcm))
        data = _frames(chunks)
        # To encode is our time: what counts against the client is how long its socket takes.
        sending_since_s = time.monotonic()
        await self._stream.send(data)
        if pcm:
            self._note_taken(pcm, sending_since_s, time.monotonic())

    def _note_taken(self, pcm: bytes, since_s: float, now_s: float) -> None:
        """A client that takes speech more slowly than it plays is dropped when it is too far behind."""
        mark("first_packet")
        self._ramp.sent(now_s, pcm)
        self._taken_bytes += len(pcm)
        self._service.engine.report_consumed(self._head.id, self._taken_bytes // 2)
        self._behind_s = max(self._behind_s + now_s - since_s - len(pcm) / 2 / OUTPUT_SAMPLE_RATE_HZ, 0.0)
        if self._behind_s > self._service.settings.server.timeouts.stalled_client_s:
            self._service.metrics.request_aborted("stalled_client")
            raise ClientStalled

    async def _finish(self) -> None:
        if self._form.speaks:
            self._service.transcripts.keep(self._head.audio_id, self._writer.transcript)
        words = self._writer.words(self._captions.behind(self._written_bytes // 2))
        await self._send([*words, *self._writer.closing()])
        await self._stream.end()

    async def _send(self, chunks: Iterable[Chunk]) -> None:
        await self._stream.send(_frames(chunks))


def _frames(chunks: Iterable[Chunk]) -> bytes:
    return b"".join(frame(chunk.to_json()) for chunk in chunks)


def _until(at_s: float) -> float:
    return max(at_s - time.monotonic(), 0.0)


async def _client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
