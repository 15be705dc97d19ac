"""A chat answer as server-sent events: text at once, speech in packets, both in step."""

from __future__ import annotations

import time
from typing import Protocol

from antiphon_executor.interface.event_stream import EndOfStream, EventStream, IdleTimeout
from antiphon_executor.interface.events import (
    OmniEvent,
    PromptProgress,
    SpeechDelta,
    SpeechEnded,
    TextDelta,
    TextEnded,
)
from antiphon_server.chat.request_run import RunningRequest
from antiphon_server.chat.request_spec import AnswerHead
from antiphon_server.chat.response.alignment import TimedWord
from antiphon_server.chat.response.progress import ProgressMeter
from antiphon_server.chat.response.word_timestamps import TextEvent, WordTimestamps
from antiphon_server.chat.service import Service
from antiphon_server.http.streaming.speech_packets import SpeechPackets
from antiphon_server.http.streaming.sse import KEEP_ALIVE, SseResponse
from antiphon_server.media.encode import AudioEncoder
from antiphon_server.openai_api.response import Progress


class EventWriter(Protocol):
    """What writes an answer as server-sent events. `transcript`: of a spoken answer so far."""

    @property
    def transcript(self) -> str: ...

    def begin(self) -> bytes: ...

    def progress(self, progress: Progress) -> bytes: ...

    def text(self, event: TextEvent) -> bytes: ...

    def speech(self, data: bytes, words: list[TimedWord]) -> bytes:
        """`data`: more bytes of the audio format. `words`: those that end within the audio so far."""

    def end_speech(self, end: SpeechEnded) -> None: ...

    def end(self) -> bytes: ...


class StreamedAnswer:
    """Writes one request's events to its client; it is the `AnswerWriter` of the request."""

    def __init__(
        self,
        head: AnswerHead,
        running: RunningRequest,
        writer: EventWriter,
        service: Service,
        sse: SseResponse,
        encoder: AudioEncoder,
    ) -> None:
        self._head = head
        self._running = running
        self._service = service
        self._sse = sse
        self._encoder = encoder
        self._writer = writer
        self._timestamps = WordTimestamps(running.form)
        self._packets = SpeechPackets(head.id, service)
        self._progress = ProgressMeter()
        self._pending: list[bytes] = []
        self._written_bytes = 0

    async def send_events(self, headers_at_s: float) -> None:
        """Sends the answer up to the last event. The response starts with the first, or at `headers_at_s`."""
        stream, events = self._running.events, list[OmniEvent]()
        if not self._sse.started:
            events = await _first_event(stream, headers_at_s)
            await self._sse.start_response()
        self._pending.append(self._writer.begin())
        if not self._running.form.speaks:
            stream.divert(self._write_now)
        while True:
            for event in events:
                if isinstance(event, PromptProgress):
                    self._write_progress(event)
                await self._running.state.apply(event, self)
            await self._send_pending()
            try:
                events = await self._next_events(stream)
            except EndOfStream:
                return

    async def send_end(self) -> None:
        """Sends what follows the last event, and completes the response."""
        if self._running.form.speaks:
            self._service.transcripts.keep(self._head.audio_id, self._writer.transcript)
        self._pending.append(self._writer.speech(b"", self._timestamps.due_words(self._written_bytes // 2)))
        self._pending.append(self._writer.end())
        await self._sse.end_response(self._take_frames())

    def _write_now(self, event: OmniEvent) -> bool:
        """Writes a piece of text while the task of this answer waits for events. False: the task has to."""
        if not isinstance(event, TextDelta) or not self._sse.takes_more:
            return False
        self._running.state.apply_text(event, self)
        self._sse.write_now(self._take_frames())
        return True

    def add_text(self, delta: TextDelta) -> None:
        self._write_text(self._timestamps.add_text(delta))

    def end_text(self, end: TextEnded) -> None:
        self._write_text(self._timestamps.end_text(end))

    def add_speech(self, delta: SpeechDelta) -> None:
        self._timestamps.add_speech(delta)
        self._packets.add(delta.pcm)

    async def end_speech(self, end: SpeechEnded) -> None:
        self._timestamps.end_speech(end)
        pcm = self._packets.flush()
        encoded = await self._encoder.encode_pcm(pcm) + await self._encoder.finish_encoding()
        self._write_speech(pcm, encoded)
        self._writer.end_speech(end)

    async def _next_events(self, stream: EventStream) -> list[OmniEvent]:
        """The events that are ready; none if held speech is due, or after a keep-alive comment."""
        silence_s = self._service.settings.chat.silence_s
        due_s = self._packets.due_in_s()
        try:
            event = await stream.next(silence_s if due_s is None else min(due_s, silence_s))
        except IdleTimeout:
            if due_s is None:
                await self._sse.send_data(KEEP_ALIVE)
            return []
        return [event, *stream.take_ready()]

    def _write_progress(self, event: PromptProgress) -> None:
        if self._running.form.include_progress:
            media_s = self._running.state.media_seconds
            progress = self._progress.read(event, time.monotonic(), media_s)
            self._pending.append(self._writer.progress(progress))

    def _write_text(self, events: list[TextEvent]) -> None:
        self._pending += [self._writer.text(event) for event in events]

    def _write_speech(self, pcm: bytes, encoded: bytes) -> None:
        """Writes speech, the text that it reaches before it, and its words after it."""
        self._written_bytes += len(pcm)
        samples = self._written_bytes // 2
        self._write_text(self._timestamps.due_text(samples))
        self._pending.append(self._writer.speech(encoded, self._timestamps.due_words(samples)))

    async def _send_pending(self) -> None:
        """Sends the written events and the speech that is due."""
        pcm = await self._write_due_speech() if self._packets.holds_speech else b""
        data = self._take_frames()
        # Encoding is the server's time. Only the time that the socket takes counts against the client.
        since_s = time.monotonic()
        await self._sse.send_data(data)
        if pcm:
            self._packets.count_sent(pcm, since_s)

    async def _write_due_speech(self) -> bytes:
        """The packet that was written; none if none is due."""
        pcm = self._packets.pop_due()
        if pcm:
            self._write_speech(pcm, await self._encoder.encode_pcm(pcm))
        return pcm

    def _take_frames(self) -> bytes:
        """All events that are written and not sent."""
        data = b"".join(self._pending)
        self._pending.clear()
        return data


async def _first_event(stream: EventStream, headers_at_s: float) -> list[OmniEvent]:
    """The first event, so that a refusal can still be an HTTP status; none after `headers_at_s`."""
    try:
        return [await stream.next(max(headers_at_s - time.monotonic(), 0.0))]
    except IdleTimeout:
        return []
