"""A text that is read aloud, as bytes or events of its response: speech in packets, encoded, with words."""

from __future__ import annotations

import time

from antiphon_executor.interface.event_stream import EndOfStream, EventStream, IdleTimeout
from antiphon_executor.interface.events import OmniEvent, SpeechDelta, SpeechEnded, TextDelta
from antiphon_server.chat.response.alignment import Alignment, TimedWord
from antiphon_server.chat.service import Service
from antiphon_server.http.streaming.speech_packets import SpeechPackets
from antiphon_server.http.streaming.sse import KEEP_ALIVE, SseResponse
from antiphon_server.media.encode import AudioEncoder
from antiphon_server.speech.audio_writer import audio_writer
from antiphon_server.speech.reading_run import RunningReading
from antiphon_server.speech.time_stretch import TimeStretcher


class StreamedSpeech:
    """Writes one request's speech to its client."""

    def __init__(
        self, running: RunningReading, service: Service, response: SseResponse, encoder: AudioEncoder
    ) -> None:
        spec = running.spec
        self._running = running
        self._response = response
        self._encoder = encoder
        self._form = spec.form
        self._silence_s = service.settings.chat.silence_s
        self._writer = audio_writer(spec.form)
        self._packets = SpeechPackets(spec.request.request_id, service, spec.form.speed)
        self._stretcher = TimeStretcher(spec.form.speed) if spec.form.speed != 1.0 else None
        self._alignment = Alignment() if spec.form.times_words else None
        if self._alignment is not None:
            self._alignment.add_text(TextDelta(0, spec.text, 0, spoken_ends=spec.ends))
            self._alignment.end_text()
        self._pending = b""
        self._written_bytes = 0

    async def send_events(self) -> None:
        """Sends the speech up to the last event. The response starts with the first."""
        stream = self._running.events
        while True:
            try:
                events = await self._next_events(stream)
            except EndOfStream:
                return
            for event in events:
                await self._apply(event)
            if events and not self._response.started:
                await self._response.start_response()
            await self._send_pending()

    async def send_end(self) -> None:
        """Sends what follows the last event, and completes the response."""
        self._pending += self._writer.end(self._running.state.usage())
        await self._response.end_response(self._pending)

    async def _apply(self, event: OmniEvent) -> None:
        match event:
            case SpeechDelta():
                self._running.state.count_speech(event)
                if self._alignment is not None:
                    self._alignment.add_speech(event)
                self._packets.add(
                    event.pcm if self._stretcher is None else self._stretcher.stretch(event.pcm)
                )
            case SpeechEnded():
                self._running.state.count_end(event)
                if self._alignment is not None:
                    self._alignment.end_speech(event.finish_reason)
                if self._stretcher is not None:
                    self._packets.add(self._stretcher.finish())
                pcm = self._packets.flush()
                encoded = await self._encoder.encode_pcm(pcm) + await self._encoder.finish_encoding()
                self._write(pcm, encoded)

    async def _next_events(self, stream: EventStream) -> list[OmniEvent]:
        """The events that are ready; none if held speech is due, or after a keep-alive comment."""
        due_s = self._packets.due_in_s()
        try:
            event = await stream.next(self._silence_s if due_s is None else min(due_s, self._silence_s))
        except IdleTimeout:
            if due_s is None and self._form.events:
                await self._keep_alive()
            return []
        return [event, *stream.take_ready()]

    async def _keep_alive(self) -> None:
        if self._response.started:
            await self._response.send_data(KEEP_ALIVE)
        else:
            await self._response.start_response()

    async def _send_pending(self) -> None:
        """Sends the speech that is due."""
        pcm = self._packets.pop_due() if self._packets.holds_speech else b""
        if pcm:
            self._write(pcm, await self._encoder.encode_pcm(pcm))
        data, self._pending = self._pending, b""
        # Encoding is the server's time. Only the time that the socket takes counts against the client.
        since_s = time.monotonic()
        await self._response.send_data(data)
        if pcm:
            self._packets.count_sent(pcm, since_s)

    def _write(self, pcm: bytes, encoded: bytes) -> None:
        self._written_bytes += len(pcm)
        self._pending += self._writer.audio(encoded, self._due_words())

    def _due_words(self) -> list[TimedWord]:
        if self._alignment is None:
            return []
        return self._alignment.timed_words(int(self._written_bytes // 2 * self._form.speed))
