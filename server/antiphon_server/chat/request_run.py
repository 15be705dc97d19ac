"""One request at the engine: reservation, prompt, media, slot, events.

Closing the generator, or cancelling its reader, closes the engine's iterator and releases the reservation.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import cast

from antiphon_executor.interface.card import ModelCard
from antiphon_executor.interface.errors import EngineError
from antiphon_executor.interface.events import (
    OUTPUT_SAMPLE_RATE_HZ,
    OmniEvent,
    PromptCounted,
    SpeechDelta,
    SpeechEnded,
    TextDelta,
    TextEnded,
)
from antiphon_executor.interface.media import Media
from antiphon_executor.interface.request import OmniRequest
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.admission.cost_model import (
    RequestSize,
    SpeechDemand,
    heard_seconds,
    media_seconds,
    tokens_of,
)
from antiphon_server.admission.preparation_cost import PreparationCost
from antiphon_server.admission.reservation import Reservation
from antiphon_server.chat.prompt.renderer import PromptTooLong
from antiphon_server.chat.request_spec import AnswerForm, RequestSpec
from antiphon_server.chat.service import Service
from antiphon_server.errors import ApiError
from antiphon_server.observability.metrics import ServerMetrics
from antiphon_server.observability.request_trace import engine_marker, mark

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Started:
    """The first event: the request has its slot. `form`: how its answer is written, in text alone or not."""

    form: AnswerForm


async def run_request(
    spec: RequestSpec,
    service: Service,
    body_is_used: Callable[[], None],
    arrived_s: float,
    clock: Clock = time.monotonic,
) -> AsyncGenerator[Started | OmniEvent, None]:
    """`Started`, then the engine's events.

    Raises ApiError and EngineError; a turn that ends early raises too (R19). `body_is_used` is called as soon
    as nothing of the request's body is in memory any more. `arrived_s`: when its first byte came, by `clock`.
    """
    admission = service.admission
    with admission.admit(_reservation(spec, service)) as reservation:
        mark("admitted")
        with PreparationCost(admission.rates, reservation.owner) as cost:
            compile_s = await _price_schema(spec, service, reservation.owner, cost)
            prompt, media = await _understand(spec, service, reservation, cost)
            spec = spec.without_conversation()
            body_is_used()
            turn, form = await _start(spec, prompt, media, service, reservation, clock)
        progress = _Progress(form, service.metrics, clock, arrived_s)
        yield Started(form)
        generated = cast("AsyncGenerator[OmniEvent, None]", service.engine.generate(turn))
        # From here on the engine alone keeps what the client sent: that may be hundreds of megabytes.
        del turn, media
        compiling = service.schema_costs.compiling(reservation.owner, compile_s)
        async with compiling as compiled, aclosing(generated) as events:
            async for event in events:
                compiled()
                progress.see(event)
                _account(event, reservation, admission)
                if progress.text_is_complete:
                    admission.release_text(reservation)
                yield event
        progress.check_complete()


def _reservation(spec: RequestSpec, service: Service) -> Reservation:
    form = spec.form
    speech = SpeechDemand(form.stream, spec.speech_optional) if form.speaks else None
    reservation = Reservation(spec.cache_salt or "", speech)
    if reservation.speech_optional and not service.engine.status().stages.get("talker"):
        reservation.fall_back_to_text()
    return reservation


def _account(event: OmniEvent, reservation: Reservation, admission: AdmissionController) -> None:
    """What the request holds grows with its answer."""
    match event:
        case PromptCounted():
            admission.count_prompt(reservation, event)
        case TextDelta():
            admission.count_text(reservation, event.tokens)
        case SpeechDelta():
            admission.count_speech(reservation, event.frames)


async def _understand(
    spec: RequestSpec, service: Service, reservation: Reservation, cost: PreparationCost
) -> tuple[tuple[int, ...], Media]:
    """Prompt and media. A request that is wrong is refused here, before it waits."""
    prompt = await _read_prompt(spec, service, cost)
    mark("rendered")
    media = await _load(spec, service, reservation)
    cost.count_read(tokens_of(media, service.engine.card.media))
    return prompt, media


async def _start(
    spec: RequestSpec,
    prompt: tuple[int, ...],
    media: Media,
    service: Service,
    reservation: Reservation,
    clock: Clock,
) -> tuple[OmniRequest, AnswerForm]:
    """Wait for a slot. The answer's form may be text alone by then."""
    waiting_since = clock()
    await service.admission.wait_for_slot(reservation, _size_of(spec, prompt, media, service.engine.card))
    service.metrics.request_started(clock() - waiting_since)
    mark("started")
    if spec.form.speaks and reservation.kind == "text":
        spec = spec.in_text()
    turn = OmniRequest(
        spec.head.id,
        prompt,
        media,
        spec.text,
        spec.speech,
        spec.cache_salt,
        live=spec.form.stream,
        on_mark=engine_marker(),
    )
    return turn, spec.form


async def _price_schema(spec: RequestSpec, service: Service, owner: str, cost: PreparationCost) -> float:
    """Seconds that the engine will take to compile the answer's schema. Raises BadRequest if too long."""
    schema = spec.schema
    if schema is None or schema.param is None:
        return 0.0
    return await service.schema_costs.price(schema.text, owner, schema.param, cost)


def _size_of(spec: RequestSpec, prompt: tuple[int, ...], media: Media, card: ModelCard) -> RequestSize:
    return RequestSize(
        prompt_tokens=len(prompt) + tokens_of(media, card.media),
        choices=spec.form.choices,
        max_tokens=spec.text.max_tokens,
        max_frames=spec.speech.max_frames if spec.speech else None,
        media_seconds=media_seconds(media),
        heard_seconds=heard_seconds(media),
    )


async def _load(spec: RequestSpec, service: Service, reservation: Reservation) -> Media:
    if not spec.conversation.sources:
        return Media()
    try:
        hold = partial(service.admission.hold_media, reservation)
        media = await service.media.load(spec.conversation.sources, hold)
    except ApiError as error:
        service.metrics.media_rejected(error)
        raise
    service.metrics.media_heard(heard_seconds(media))
    return media


async def _read_prompt(spec: RequestSpec, service: Service, cost: PreparationCost) -> tuple[int, ...]:
    try:
        prompt = await service.prompts.render(
            spec.conversation, spec.cache_salt or "", service.engine.card.context_tokens
        )
    except PromptTooLong as error:
        cost.count_read(min(error.tokens, service.engine.card.context_tokens))
        raise
    cost.count_read(len(prompt))
    return prompt


class _Progress:
    """How far a turn has come: for the metrics, and so that a cut-off answer never passes for a whole one."""

    def __init__(self, form: AnswerForm, metrics: ServerMetrics, clock: Clock, arrived_s: float) -> None:
        self._metrics = metrics
        self._clock = clock
        self._arrived_s = arrived_s
        self._open_choices = form.choices
        self._is_speaking = form.speaks
        self._first_text_at: float | None = None
        self._first_sound_at: float | None = None

    @property
    def text_is_complete(self) -> bool:
        return self._open_choices == 0

    def see(self, event: OmniEvent) -> None:
        match event:
            case TextDelta() if self._first_text_at is None:
                mark("first_text")
                self._first_text_at = self._clock()
                self._metrics.first_token(self._first_text_at - self._arrived_s)
            case TextEnded():
                self._open_choices -= 1
            case SpeechDelta():
                self._see_sound(event)
            case SpeechEnded():
                self._is_speaking = False
                if event.guard_reason is not None:
                    self._metrics.speech_derailed(event.guard_reason)
                if event.real_time_factor is not None:
                    self._metrics.speech_finished(event.real_time_factor)

    def check_complete(self) -> None:
        if self._open_choices > 0 or self._is_speaking:
            raise EngineError("the engine ended the answer before it was complete")

    def _see_sound(self, event: SpeechDelta) -> None:
        if self._first_sound_at is None:
            mark("first_sound")
            self._first_sound_at = self._clock()
            self._metrics.first_audio(self._first_sound_at - self._arrived_s)
        self._metrics.audio_sent(len(event.pcm) / 2 / OUTPUT_SAMPLE_RATE_HZ)
