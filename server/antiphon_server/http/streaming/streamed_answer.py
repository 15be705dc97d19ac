"""A chat answer as server-sent events: text at once, speech in packets, both in step."""

from __future__ import annotations

import time

from antiphon_executor.interface.event_stream import EndOfStream, EventStream, IdleTimeout
from antiphon_executor.interface.events import (
    OUTPUT_SAMPLE_RATE_HZ,
    OmniEvent,
    SpeechDelta,
    SpeechEnded,
    TextDelta,
    TextEnded,
)
from antiphon_server.chat.request_run import RunningRequest
from antiphon_server.chat.request_spec import AnswerHead
from antiphon_server.chat.response.chunk_json import ChunkJson, to_json_list
from antiphon_server.chat.response.chunks import ChunkWriter
from antiphon_server.chat.response.packetizer import Packetizer
from antiphon_server.chat.response.word_timestamps import TextEvent, WordTimestamps
from antiphon_server.chat.service import Service
from antiphon_server.http.send_limit import ClientStalled
from antiphon_server.http.streaming.sse import DONE, KEEP_ALIVE, SseResponse, frame
from antiphon_server.media.encode import AudioEncoder
from antiphon_server.observability.request_trace import mark


class StreamedAnswer:
    """Writes one request's events to its client; it is the `AnswerWriter` of the request."""

    def __init__(
        self,
        head: AnswerHead,
        running: RunningRequest,
        service: Service,
        sse: SseResponse,
        encoder: AudioEncoder,
    ) -> None:
        self._head = head
        self._running = running
        self._service = service
        self._sse = sse
        self._encoder = encoder
        self._writer = ChunkWriter(head, running.form, running.state.usage)
        self._json = ChunkJson(self._writer, running.form)
        self._timestamps = WordTimestamps(running.form)
        self._packetizer = Packetizer(
            service.settings.chat.packets, lambda: service.engine.status().frame_time.startup_buffer_s
        )
        self._pending: list[bytes] = []
        self._written_bytes = 0
        self._sent_bytes = 0
        self._behind_s = 0.0

    async def send_events(self, headers_at_s: float) -> None:
        """Sends the answer up to the last event. The response starts with the first, or at `headers_at_s`."""
        stream, events = self._running.events, list[OmniEvent]()
        if not self._sse.started:
            events = await _first_event(stream, headers_at_s)
            await self._sse.start_response()
        self._pending += to_json_list(self._writer.first_chunks())
        if not self._running.form.speaks:
            stream.divert(self._write_now)
        while True:
            for event in events:
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
        self._pending += self._json.words(self._timestamps.due_words(self._written_bytes // 2))
        self._pending += to_json_list(self._writer.last_chunks())
        await self._sse.end_response(self._take_frames() + DONE)

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
        self._packetizer.add_pcm(delta.pcm, time.monotonic())

    async def end_speech(self, end: SpeechEnded) -> None:
        self._timestamps.end_speech(end)
        pcm = self._packetizer.flush()
        encoded = await self._encoder.encode_pcm(pcm) + await self._encoder.finish_encoding()
        self._write_speech(pcm, encoded)
        self._writer.end_speech(end)

    async def _next_events(self, stream: EventStream) -> list[OmniEvent]:
        """The events that are ready; none if held speech is due, or after a keep-alive comment."""
        silence_s = self._service.settings.chat.silence_s
        due_s = self._packetizer.due_in_s(time.monotonic())
        try:
            event = await stream.next(silence_s if due_s is None else min(due_s, silence_s))
        except IdleTimeout:
            if due_s is None:
                await self._sse.send_data(KEEP_ALIVE)
            return []
        return [event, *stream.take_ready()]

    def _write_text(self, events: list[TextEvent]) -> None:
        for event in events:
            if isinstance(event, TextDelta):
                self._pending += self._json.text(event)
            else:
                self._pending += self._json.text_end(event)

    def _write_speech(self, pcm: bytes, encoded: bytes) -> None:
        """Writes speech, the text that it reaches before it, and its words after it."""
        self._written_bytes += len(pcm)
        samples = self._written_bytes // 2
        self._write_text(self._timestamps.due_text(samples))
        self._pending += self._json.audio(encoded)
        self._pending += self._json.words(self._timestamps.due_words(samples))

    async def _send_pending(self) -> None:
        """Sends the written chunks and the speech that is due."""
        pcm = await self._write_due_speech() if self._packetizer.held_s else b""
        data = self._take_frames()
        # Encoding is the server's time. Only the time that the socket takes counts against the client.
        since_s = time.monotonic()
        await self._sse.send_data(data)
        if pcm:
            self._count_sent(pcm, since_s, time.monotonic())

    async def _write_due_speech(self) -> bytes:
        """The packet that was written; none if none is due."""
        now_s = time.monotonic()
        slack_s, pcm = self._packetizer.slack_s(now_s), self._packetizer.pop_packet(now_s)
        if pcm:
            if slack_s is not None:
                self._service.metrics.packet_sent(slack_s)
            self._write_speech(pcm, await self._encoder.encode_pcm(pcm))
        return pcm

    def _take_frames(self) -> bytes:
        """All written chunks as server-sent events."""
        data = b"".join([frame(json) for json in self._pending])
        self._pending.clear()
        return data

    def _count_sent(self, pcm: bytes, since_s: float, now_s: float) -> None:
        """Drops a client that reads speech more slowly than it plays, when it is too far behind."""
        mark("first_packet")
        self._packetizer.packet_sent(now_s, pcm)
        self._sent_bytes += len(pcm)
        self._service.engine.report_consumed(self._head.id, self._sent_bytes // 2)
        self._behind_s = max(self._behind_s + now_s - since_s - len(pcm) / 2 / OUTPUT_SAMPLE_RATE_HZ, 0.0)
        if self._behind_s > self._service.settings.server.timeouts.stalled_client_s:
            self._service.metrics.request_aborted("stalled_client")
            raise ClientStalled


async def _first_event(stream: EventStream, headers_at_s: float) -> list[OmniEvent]:
    """The first event, so that a refusal can still be an HTTP status; none after `headers_at_s`."""
    try:
        return [await stream.next(max(headers_at_s - time.monotonic(), 0.0))]
    except IdleTimeout:
        return []
