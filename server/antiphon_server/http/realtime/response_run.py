"""Runs one realtime response at the engine, from its plan to its outcome."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from antiphon_executor.interface.errors import EngineError
from antiphon_executor.interface.event_stream import EndOfStream, IdleTimeout
from antiphon_executor.interface.events import OmniEvent
from antiphon_server.chat.request_run import RunningRequest, run_request
from antiphon_server.chat.service import Service, span_values
from antiphon_server.errors import ApiError, BadRequest
from antiphon_server.http.error_response import error_of
from antiphon_server.http.realtime.answer import RealtimeAnswer
from antiphon_server.http.realtime.outbox import Outbox
from antiphon_server.http.streaming.speech_packets import SpeechPackets
from antiphon_server.observability.request_trace import RequestTrace, current, end_span, log_trace, new_trace
from antiphon_server.openai_api.realtime.session import RetentionRatio
from antiphon_server.realtime.audio.sample_formats import OutputEncoder
from antiphon_server.realtime.effects import ResponsePlan
from antiphon_server.realtime.items import Item
from antiphon_server.realtime.open_response import OpenResponse, Outcome
from antiphon_server.realtime.prompt_messages import without_oldest_turns
from antiphon_server.realtime.response_spec import build_response_spec

# Of the context, kept when it is full.
_AUTO_RETENTION = 0.8


class ResponseRun:
    """`forget`: called with the first item that is still shown if older ones had to be left out."""

    def __init__(
        self,
        response: OpenResponse,
        plan: ResponsePlan,
        service: Service,
        outbox: Outbox,
        model: str,
        owner: str | None,
        forget: Callable[[Item], None],
    ) -> None:
        self._response = response
        self._plan = plan
        self._service = service
        self._outbox = outbox
        self._model = model
        self._owner = owner
        self._forget = forget
        self._arrived_s = time.monotonic()
        self._has_sounded = False

    async def run(self) -> Outcome:
        """Cancelling it frees all that the response holds."""
        before = current.set(self._new_trace())
        failure: str | None = "cancelled"
        try:
            outcome = await self._answer()
            failure = None if outcome.status == "completed" else outcome.status
            return outcome
        except (ApiError, EngineError) as error:
            outcome = failed(error_of(error))
            failure = str((outcome.error or {}).get("code") or "failed")
            return outcome
        finally:
            log_trace()
            end_span(failure)
            current.reset(before)

    def _new_trace(self) -> RequestTrace | None:
        service = self._service
        values = {**span_values(service), "antiphon.response_id": self._response.head.id}
        is_logged = service.settings.logs.milestones
        return new_trace("realtime response", values, self._arrived_s, service.spans, is_logged=is_logged)

    async def _answer(self) -> Outcome:
        plan = self._plan
        while True:
            spec = build_response_spec(plan, self._response.head.id, self._service, self._model, self._owner)
            try:
                async with run_request(spec, self._service, _keep_nothing, self._arrived_s) as running:
                    return await self._write(running)
            except BadRequest as error:
                shorter = self._shortened(plan) if error.code == "context_length_exceeded" else plan
                if len(shorter.items) == len(plan.items):
                    raise
                plan = shorter
                if plan.is_default:
                    self._forget(plan.items[0])

    def _shortened(self, plan: ResponsePlan) -> ResponsePlan:
        """The plan without its oldest turns; the same if there are none to leave out."""
        if plan.truncation == "disabled":
            return plan
        kept = (
            plan.truncation.retention_ratio
            if isinstance(plan.truncation, RetentionRatio)
            else _AUTO_RETENTION
        )
        return replace(plan, items=without_oldest_turns(plan.items, kept))

    def _count_first(self) -> None:
        if not self._has_sounded:
            self._has_sounded = True
            self._service.metrics.turn_answered(time.monotonic() - self._arrived_s)

    async def _write(self, running: RunningRequest) -> Outcome:
        response, stream = self._response, running.events
        packets = SpeechPackets(response.head.id, self._service)
        encoder = OutputEncoder(self._plan.output_format)
        meter = running.state.usage
        answer = RealtimeAnswer(response, running.form, meter, packets, encoder, self._outbox.put)
        response.usage = meter.usage
        response.played = lambda: packets.played_samples
        events: list[OmniEvent] = []
        while True:
            for event in events:
                await running.state.apply(event, answer)
            since_s = time.monotonic()
            pcm = answer.pop_due_speech()
            await self._outbox.flush()
            if pcm:
                packets.count_sent(pcm, since_s)
                self._count_first()
            try:
                events = [await stream.next(packets.due_in_s()), *stream.take_ready()]
            except IdleTimeout:
                events = []
            except EndOfStream:
                return answer.outcome


def failed(error: ApiError) -> Outcome:
    message = error.message
    if error.retry_after_s is not None:
        message = f"{message}; retry_after_ms: {max(1, round(error.retry_after_s * 1000))}"
    return Outcome("failed", None, {"type": error.type, "code": error.code, "message": message})


def _keep_nothing() -> None:
    """The conversation keeps its items."""
