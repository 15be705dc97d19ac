"""The state of one running request: every event of the engine is matched once, here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from antiphon_executor.interface.errors import EngineError
from antiphon_executor.interface.events import (
    OUTPUT_SAMPLE_RATE_HZ,
    OmniEvent,
    PromptCounted,
    PromptProgress,
    SpeechDelta,
    SpeechEnded,
    TextDelta,
    TextEnded,
)
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.admission.reservation import Reservation
from antiphon_server.chat.request_spec import AnswerForm
from antiphon_server.chat.usage import UsageMeter
from antiphon_server.observability.metrics import ServerMetrics
from antiphon_server.observability.request_trace import mark, note


class AnswerWriter(Protocol):
    """What turns the events of one request into an answer."""

    def add_text(self, delta: TextDelta) -> None: ...

    def end_text(self, end: TextEnded) -> None:
        """One choice's text is complete."""

    def add_speech(self, delta: SpeechDelta) -> None: ...

    async def end_speech(self, end: SpeechEnded) -> None: ...


@dataclass(frozen=True, slots=True)
class RequestAccounts:
    """Where a request's events are counted. `on_prompt_read`: called when the engine has read the prompt."""

    admission: AdmissionController
    reservation: Reservation
    metrics: ServerMetrics
    on_prompt_read: Callable[[], None]


class RequestState:
    """What a request has produced so far. `arrived_s`: when its first byte came, by `clock`."""

    def __init__(
        self,
        form: AnswerForm,
        accounts: RequestAccounts,
        arrived_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.usage = UsageMeter()
        self._accounts = accounts
        self._admission = accounts.admission
        self._reservation = accounts.reservation
        self._metrics = accounts.metrics
        self._arrived_s = arrived_s
        self._clock = clock
        self._open_choices = form.choices
        self._speaks = form.speaks
        self._has_text = False
        self._has_speech = False

    @property
    def media_seconds(self) -> float:
        """Audio and video of the request."""
        return self._reservation.size.media_seconds

    async def apply(self, event: OmniEvent, answer: AnswerWriter) -> None:
        """Counts one event, then adds it to `answer`."""
        match event:
            case PromptProgress():
                self._admission.count_progress(self._reservation, event)
            case PromptCounted():
                self._accounts.on_prompt_read()
                self._admission.count_prompt(self._reservation, event)
                note("gen_ai.usage.input_tokens", event.total)
                self.usage.count_prompt(event)
            case TextDelta():
                self.apply_text(event, answer)
            case TextEnded():
                self._open_choices -= 1
                if not self._open_choices:
                    self._admission.release_text(self._reservation)
                    mark("text_ended")
                answer.end_text(event)
            case SpeechDelta():
                self._mark_first_speech()
                self._metrics.audio_sent(len(event.pcm) / 2 / OUTPUT_SAMPLE_RATE_HZ)
                self._admission.count_speech(self._reservation, event.frames)
                self.usage.count_speech(event.frames)
                answer.add_speech(event)
            case SpeechEnded():
                self._speaks = False
                mark("speech_ended")
                self._count_speech_end(event)
                await answer.end_speech(event)

    def apply_text(self, delta: TextDelta, answer: AnswerWriter) -> None:
        """`apply` for text, which never waits."""
        self._mark_first_text()
        self._admission.count_text(self._reservation, delta.tokens)
        self.usage.count_text(delta.tokens)
        answer.add_text(delta)

    def check_complete(self) -> None:
        """Raises EngineError if the engine has ended the stream of events before the answer."""
        if self._open_choices > 0 or self._speaks:
            raise EngineError("the engine ended the answer before it was complete")
        note("gen_ai.usage.output_tokens", self.usage.completion_tokens)

    def _mark_first_text(self) -> None:
        if not self._has_text:
            self._has_text = True
            mark("first_text")
            self._metrics.first_token(self._clock() - self._arrived_s)

    def _mark_first_speech(self) -> None:
        if not self._has_speech:
            self._has_speech = True
            mark("first_sound")
            self._metrics.first_audio(self._clock() - self._arrived_s)

    def _count_speech_end(self, end: SpeechEnded) -> None:
        if end.guard_reason is not None:
            self._metrics.speech_derailed(end.guard_reason)
        if end.real_time_factor is not None:
            self._metrics.speech_finished(end.real_time_factor)
