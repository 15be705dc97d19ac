"""Runs one text to read aloud at the engine: reservation, slot, events."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from antiphon_executor.interface.errors import EngineError
from antiphon_executor.interface.event_stream import EventStream
from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ, SpeechDelta, SpeechEnded
from antiphon_server.admission.cost_model import SpeechDemand
from antiphon_server.admission.reservation import Reservation
from antiphon_server.chat.service import Service
from antiphon_server.observability.request_trace import engine_marker, mark, note
from antiphon_server.openai_api.audio.speech import SpeechUsage
from antiphon_server.speech.reading_spec import ReadingSpec


class ReadingState:
    """What a request has produced so far. `arrived_s`: when its first byte came, by `clock`."""

    def __init__(
        self,
        spec: ReadingSpec,
        service: Service,
        reservation: Reservation,
        arrived_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._input_tokens = len(spec.ends)
        self._service = service
        self._reservation = reservation
        self._arrived_s = arrived_s
        self._clock = clock
        self._frames = 0
        self._ended = False

    def count_speech(self, delta: SpeechDelta) -> None:
        metrics = self._service.metrics
        if not self._frames:
            mark("first_sound")
            metrics.first_audio(self._clock() - self._arrived_s)
        metrics.audio_sent(len(delta.pcm) / 2 / OUTPUT_SAMPLE_RATE_HZ)
        self._service.admission.count_speech(self._reservation, delta.frames)
        self._frames += delta.frames

    def count_end(self, end: SpeechEnded) -> None:
        self._ended = True
        mark("speech_ended")
        note("gen_ai.usage.input_tokens", self._input_tokens)
        note("gen_ai.usage.output_tokens", self._frames)
        if end.guard_reason is not None:
            self._service.metrics.speech_derailed(end.guard_reason)
        if end.real_time_factor is not None:
            self._service.metrics.speech_finished(end.real_time_factor)

    def check_complete(self) -> None:
        """Raises EngineError if the engine has ended the stream of events before the speech."""
        if not self._ended:
            raise EngineError("the engine ended the speech before it was complete")

    def usage(self) -> SpeechUsage:
        return SpeechUsage(
            input_tokens=self._input_tokens,
            output_tokens=self._frames,
            total_tokens=self._input_tokens + self._frames,
        )


@dataclass(frozen=True, slots=True)
class RunningReading:
    """A request that has its slot. Each event that is read from `events` is counted in `state`."""

    spec: ReadingSpec
    events: EventStream
    state: ReadingState


@asynccontextmanager
async def run_reading(
    spec: ReadingSpec, service: Service, arrived_s: float, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[RunningReading]:
    """Runs one request at the engine: entering waits for its slot, and leaving releases all that it holds.

    Raises ApiError and EngineError, also at the end of the block if the speech is not complete.
    """
    admission = service.admission
    with admission.admit(Reservation(spec.owner, SpeechDemand(live=True))) as reservation:
        mark("admitted")
        waiting_since = clock()
        await admission.wait_for_slot(reservation, spec.size)
        # The key pays for the text, as `usage` counts it; the size is that of its longest piece and prompt.
        admission.rates.debit(spec.owner, len(spec.ends) - spec.size.prompt_tokens)
        # It needs nothing of the Thinker.
        admission.release_text(reservation)
        service.metrics.request_started(clock() - waiting_since)
        mark("started")
        request = replace(spec.request, on_mark=engine_marker())
        async with service.engine.read_aloud(request) as events:
            state = ReadingState(spec, service, reservation, arrived_s, clock)
            yield RunningReading(spec, events, state)
            state.check_complete()
