"""One realtime connection: it reads events, applies them, and owns every task that follows from them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.types import Receive, Send
from starlette.websockets import WebSocketDisconnect

from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ
from antiphon_server.chat.service import Service
from antiphon_server.errors import ApiError, BadRequest
from antiphon_server.http.error_response import error_of
from antiphon_server.http.lifecycle import Lifecycle
from antiphon_server.http.realtime.event_media import LARGE_EVENT, event_media
from antiphon_server.http.realtime.input_budget import InputBudget
from antiphon_server.http.realtime.listener import Listener
from antiphon_server.http.realtime.outbox import Outbox, TooManyUnsent, frame_of
from antiphon_server.http.realtime.response_run import ResponseRun, failed
from antiphon_server.http.realtime.speech_ahead import SpeechAhead
from antiphon_server.http.realtime.transcript import write_transcript
from antiphon_server.openai_api.realtime.client_events import (
    AudioAppend,
    ItemRetrieve,
    RefusedEvent,
    parse_client_event,
)
from antiphon_server.realtime.effects import Effect, Listen, StartResponse, Step, StopResponse, Transcribe
from antiphon_server.realtime.items import Event
from antiphon_server.realtime.machine import RealtimeMachine
from antiphon_server.realtime.open_response import OpenResponse

_NORMAL, _TOO_MUCH = 1000, 1008

_log = logging.getLogger("antiphon.realtime")


@dataclass(frozen=True, slots=True)
class Closing:
    """Why the server closes a connection."""

    code: int
    error: ApiError | None = None


class RealtimeConnection:
    """`owner`: of the API key. `run` returns when the connection has ended and holds nothing any more."""

    def __init__(
        self,
        machine: RealtimeMachine,
        service: Service,
        life: Lifecycle,
        owner: str | None,
        receive: Receive,
        send: Send,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._machine = machine
        self._service = service
        self._life = life
        self._owner = owner
        self._receive = receive
        self._send = send
        self._clock = clock
        self._policy = service.settings.realtime
        self._outbox = Outbox(send, self._policy.unsent_bytes)
        self._listener = Listener(
            machine, service.voice_activity, self._perform, service.metrics.speech_scored
        )
        self._ahead = SpeechAhead(machine, service, life, machine.state.identity.model, owner)
        self._budget = InputBudget(self._policy, clock)
        self._responses: dict[OpenResponse, asyncio.Task[None]] = {}
        self._transcripts: set[asyncio.Task[None]] = set()
        self._active_s = clock()

    async def run(self) -> None:
        self._service.metrics.realtime_opened()
        try:
            await self._run()
        finally:
            self._service.metrics.realtime_closed()

    async def _run(self) -> None:
        self._outbox.put(self._machine.open())
        reading = asyncio.create_task(self._read())
        sending = (self._outbox.run(), self._outbox.check())
        parts = [reading, *map(_task, (*sending, self._watch_clock(), self._listener.run()))]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end([*parts, *self._responses.values(), *self._transcripts])
            await self._ahead.close()
        with contextlib.suppress(WebSocketDisconnect):
            for part in done:
                if (closing := _closing_of(part)) is not None:
                    await self._close(closing)

    async def _close(self, closing: Closing) -> None:
        if closing.error is not None:
            event = self._machine.writer.error(closing.error, None)
            await self._send({"type": "websocket.send", "text": frame_of(event)})
        await self._send({"type": "websocket.close", "code": closing.code})

    async def _read(self) -> None:
        """Returns when the client has left."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            self._active_s = self._clock()
            text = message.get("text")
            if text is None:
                error = BadRequest("Events are text frames of JSON.", code="invalid_frame")
                self._outbox.put([self._machine.writer.error(error, None)])
            else:
                await self._apply(text)
            # A client may send thousands of events at once: its other tasks, and other connections, go on.
            await asyncio.sleep(0)

    async def _apply(self, text: str) -> None:
        limits = self._service.settings.server.limits
        parse = partial(parse_client_event, text, limits.json_depth, limits.json_nodes)
        try:
            event = parse() if len(text) < LARGE_EVENT else await asyncio.to_thread(parse)
        except RefusedEvent as refused:
            self._outbox.put([self._machine.writer.error(refused.error, refused.event_id)])
            return
        try:
            if isinstance(event, AudioAppend):
                asked = self._machine.state.session.audio.input.format
                self._budget.spend(len(event.audio) * 3 // 4, asked)
            media = await event_media(event, self._machine, self._service, self._owner or "")
        except ApiError as error:
            self._outbox.put([self._machine.writer.error(error, event.event_id)])
            return
        self._perform(self._machine.apply(event, media))
        if isinstance(event, ItemRetrieve):
            # A small event asks for megabytes of audio: the next one waits until the client has read them.
            await self._outbox.flush()

    def _perform(self, step: Step) -> None:
        for sound in step.heard:
            self._ahead.take(sound)
        self._ahead.follow()
        for event in step.events:
            self._outbox.put([event])
            self._count(event)
            if event["type"] == "response.done":
                self._outbox.put(self._rate_limits())
        self._service.metrics.speech_unheard(step.unheard_samples / OUTPUT_SAMPLE_RATE_HZ)
        for effect in step.effects:
            self._start(effect)

    def _rate_limits(self) -> list[Event]:
        """What is left of the key's tokens, if they are limited."""
        tokens, owner = self._service.admission.rates.tokens, self._owner or ""
        per_minute = tokens.per_minute(owner)
        if not per_minute:
            return []
        limit = {
            "name": "tokens",
            "limit": int(per_minute),
            "remaining": max(int(tokens.remaining(owner)), 0),
            "reset_seconds": round(tokens.full_in_s(owner), 3),
        }
        return [self._machine.writer.event("rate_limits.updated", rate_limits=[limit])]

    def _count(self, event: Event) -> None:
        if event["type"] == "input_audio_buffer.committed":
            self._service.metrics.turn_ended()
        elif event["type"] == "response.done":
            details = event["response"]["status_details"] or {}
            if details.get("reason") == "turn_detected":
                self._service.metrics.response_interrupted()

    def _start(self, effect: Effect) -> None:
        match effect:
            case Listen():
                self._listener.feed(effect.samples)
            case StartResponse():
                task = asyncio.create_task(self._respond(effect))
                self._responses[effect.response] = task
                task.add_done_callback(lambda _: self._responses.pop(effect.response, None))
            case StopResponse():
                task_of = self._responses.get(effect.response)
                if task_of is not None:
                    task_of.cancel()
            case Transcribe():
                writing = asyncio.create_task(self._transcribe(effect))
                self._transcripts.add(writing)
                writing.add_done_callback(self._transcripts.discard)

    async def _respond(self, start: StartResponse) -> None:
        self._active_s = self._clock()
        forget = self._machine.conversation.forget_before
        response = start.response
        refusal = self._life.refusal()
        if refusal is not None:
            outcome = failed(refusal)
        else:
            run = ResponseRun(
                response,
                start.plan,
                self._service,
                self._outbox,
                self._machine.state.identity.model,
                self._owner,
                lambda item: forget(item.id),
            )
            try:
                await self._ahead.finished()
                outcome = await run.run()
            except Exception as error:
                # The response ends for its client; the server logs the rest of it.
                outcome = failed(error_of(error))
                _log.exception("a realtime response failed")
        self._active_s = self._clock()
        self._perform(self._machine.end_response(response, outcome))

    async def _transcribe(self, asked: Transcribe) -> None:
        async for events in write_transcript(asked, self._machine, self._service, self._owner or ""):
            self._outbox.put(events)

    async def _watch_clock(self) -> Closing:
        """Returns when the session has expired or nothing has happened for too long."""
        ends_s = self._clock() + self._policy.session_s
        while True:
            now_s = self._clock()
            if self._responses:
                self._active_s = now_s
            idle_until_s = self._active_s + self._policy.idle_s
            if now_s >= ends_s:
                return Closing(_NORMAL, _expired("session_expired", f"{self._policy.session_s:g} s"))
            if now_s >= idle_until_s:
                return Closing(
                    _NORMAL, _expired("session_idle", f"{self._policy.idle_s:g} s without an event")
                )
            await asyncio.sleep(min(ends_s, idle_until_s) - now_s)


def _expired(code: str, limit: str) -> ApiError:
    return BadRequest(f"The session has reached its limit of {limit}.", code=code)


def _closing_of(part: asyncio.Task[Any]) -> Closing | None:
    """How to close for the part that has ended first; None if the client has left."""
    error = part.exception()
    if isinstance(error, TooManyUnsent):
        return Closing(_TOO_MUCH)
    if error is not None and not isinstance(error, WebSocketDisconnect):
        raise error
    result = None if error else part.result()
    return result if isinstance(result, Closing) else None


def _task(running: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.create_task(running)


async def _end(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
