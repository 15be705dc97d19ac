"""The HTTP response to a conversation, in text or in speech, whole or streamed."""

from __future__ import annotations

import asyncio
import math
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from starlette.types import Receive, Scope, Send

from antiphon_server.chat.request_run import RunningRequest
from antiphon_server.chat.request_spec import AnswerHead
from antiphon_server.chat.request_state import AnswerWriter
from antiphon_server.chat.service import Service
from antiphon_server.http.streaming.answer_response import AnswerResponse
from antiphon_server.http.streaming.sse import KEEP_ALIVE, SseResponse
from antiphon_server.http.streaming.starting_request import StartingRequest
from antiphon_server.http.streaming.streamed_answer import EventWriter, StreamedAnswer
from antiphon_server.media.encode import encode_file, open_encoder


class AnswerBuilder(AnswerWriter, Protocol):
    """What makes one body of an answer. `pcm`: its speech. `transcript`: its text, before `body` is made."""

    pcm: bytearray

    @property
    def transcript(self) -> str: ...

    @property
    def has_called(self) -> bool:
        """Whether the answer calls a tool."""

    def body(self, audio_file: bytes) -> bytes:
        """`audio_file`: the encoded speech; empty for a text answer."""


class ConversationResponse(AnswerResponse):
    """The request runs while its response is sent, and no longer."""

    def __init__(
        self,
        head: AnswerHead,
        stream: bool,
        request: AbstractAsyncContextManager[RunningRequest],
        service: Service,
        rates: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`rates`: headers with the rest of the key's rate limits, read when the answer begins."""
        super().__init__(stream, service, rates)
        self._head = head
        self._request = request

    # Between what a client reads while its request has no slot; at most as long as between keep-alives.
    waiting_every_s = math.inf

    def write_waiting(self) -> bytes:
        """An event, or a comment, for a client whose request has no slot yet."""
        return KEEP_ALIVE

    @abstractmethod
    def builder_of(self, running: RunningRequest) -> AnswerBuilder: ...

    @abstractmethod
    def events_of(self, running: RunningRequest) -> EventWriter: ...

    async def send_whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._request as running:
            form = running.form
            builder = self.builder_of(running)
            await running.write_whole(builder)
        encode_s = self._service.settings.chat.encode_s
        pcm, transcript = bytes(builder.pcm), builder.transcript
        has_sound = form.speaks and (pcm or not builder.has_called)
        audio_file = await encode_file(pcm, form.audio_format, encode_s) if has_sound else b""
        body = await asyncio.to_thread(builder.body, audio_file)
        if form.speaks:
            self._service.transcripts.keep(self._head.audio_id, transcript)
        await self.send_json(body, scope, receive, send)

    async def send_events(self, sse: SseResponse) -> None:
        policy = self._service.settings.chat
        headers_at_s = time.monotonic() + policy.headers_s
        every_s = min(policy.silence_s, self.waiting_every_s)
        starting = StartingRequest(self._request, sse, headers_at_s, every_s, self.write_waiting)
        async with starting as running:
            audio_format = running.form.audio_format if running.form.speaks else "pcm16"
            async with open_encoder(audio_format, policy.encode_s) as encoder:
                writer = self.events_of(running)
                answer = StreamedAnswer(self._head, running, writer, self._service, sse, encoder)
                await answer.send_events(headers_at_s)
        await answer.send_end()
