"""Runs one chat request at the engine: reservation, schema, prompt, media, slot, events."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from antiphon_executor.interface.event_stream import EventStream
from antiphon_executor.interface.media import Media
from antiphon_executor.interface.request import OmniRequest, TokensAhead
from antiphon_server.admission.cost_model import SpeechDemand, heard_seconds, tokens_of
from antiphon_server.admission.preparation_cost import PreparationCost
from antiphon_server.admission.reservation import Reservation
from antiphon_server.chat.preparation import Preparation
from antiphon_server.chat.prompt.renderer import PromptTooLong
from antiphon_server.chat.request_spec import AnswerForm, RequestSpec
from antiphon_server.chat.request_start import RequestStart
from antiphon_server.chat.request_state import AnswerWriter, RequestAccounts, RequestState
from antiphon_server.chat.schema.answer_schema import ANY_OBJECT
from antiphon_server.chat.service import Service
from antiphon_server.errors import ApiError, BadRequest
from antiphon_server.observability.request_trace import engine_marker, mark

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class RunningRequest:
    """A request that has its slot. `form`: of its answer, which may be text alone if speech was optional.

    Each event that is read from `events` is applied to `state`.
    """

    form: AnswerForm
    events: EventStream
    state: RequestState

    async def write_whole(self, answer: AnswerWriter) -> None:
        """Reads all events."""
        async for event in self.events:
            await self.state.apply(event, answer)


@asynccontextmanager
async def run_request(
    spec: RequestSpec,
    service: Service,
    release_body: Callable[[], None],
    arrived_s: float,
    clock: Clock = time.monotonic,
    part_of: Reservation | None = None,
    preparation: Preparation | None = None,
) -> AsyncIterator[RunningRequest]:
    """Runs one request at the engine: entering waits for its slot, and leaving releases all that it holds.

    Raises ApiError and EngineError, also at the end of the block if the answer is not complete.
    `release_body` is called when nothing of the request's body is in memory any more. `arrived_s`: when its
    first byte came, by `clock`. `part_of`: the whole, which has paid for its prompt. `preparation`: its
    progress until it is entered.
    """
    admission, preparation = service.admission, preparation or Preparation()
    with admission.admit(_reservation(spec, service, part_of)) as reservation:
        mark("admitted")
        with PreparationCost(admission.rates, reservation.owner) as cost:
            compile_s = await _estimate_schema(spec, service, reservation.owner, cost)
            prompt = await render_prompt(spec, service, cost)
            mark("rendered")
            preparation.text_tokens = len(prompt)
            async with RequestStart(spec, prompt, service, reservation, clock, preparation) as start:
                media = await _load_media(spec, service, reservation, preparation, start)
                _check_media(prompt, media, service, cost)
                spec = spec.without_conversation()
                release_body()
                await start.wait_for_slot(media)
                await start.read_rest()
                ahead = await start.stop_reading()
            request, form = _make_request(spec, prompt, media, reservation, ahead)
        stream = service.engine.generate(request)
        # From here on the engine alone keeps what the client sent, which may be hundreds of megabytes.
        del request, media
        compile_slot = service.schema_costs.compile_slot(reservation.owner, compile_s)
        async with compile_slot as release_compiler, stream as events:
            accounts = RequestAccounts(admission, reservation, service.metrics, release_compiler)
            state = RequestState(form, accounts, arrived_s, clock)
            yield RunningRequest(form, events, state)
            state.check_complete()


def _reservation(spec: RequestSpec, service: Service, part_of: Reservation | None) -> Reservation:
    form = spec.form
    speech = SpeechDemand(form.stream, spec.speech_optional) if form.speaks else None
    reservation = Reservation(spec.cache_salt or "", speech, part_of)
    if reservation.speech_optional and not service.engine.status().stages.get("talker"):
        reservation.fall_back_to_text()
    return reservation


def _check_media(prompt: tuple[int, ...], media: Media, service: Service, cost: PreparationCost) -> None:
    tokens = tokens_of(media, service.engine.card.media)
    cost.count_read(tokens)
    _check_context(len(prompt), tokens, service.engine.card.context_tokens)


def _check_context(text_tokens: int, media_tokens: int, context_tokens: int) -> None:
    """Text alone, and media before they are decoded, have been checked as far as their length was known."""
    total = text_tokens + media_tokens
    if media_tokens and total >= context_tokens:
        raise BadRequest(
            f"The prompt has {total} tokens, {media_tokens} of them media; the model's context is "
            f"{context_tokens} tokens.",
            param="messages",
            code="context_length_exceeded",
            hint="Send shorter or fewer media.",
        )


def _make_request(
    spec: RequestSpec, prompt: tuple[int, ...], media: Media, reservation: Reservation, ahead: TokensAhead
) -> tuple[OmniRequest, AnswerForm]:
    """Optional speech may have fallen back to text while the request waited for its slot."""
    if spec.form.speaks and reservation.kind == "text":
        spec = spec.without_speech()
    request = OmniRequest(
        spec.head.id,
        prompt,
        media,
        spec.text,
        spec.speech,
        spec.cache_salt,
        live=spec.form.stream,
        unspoken_from=spec.unspoken_from,
        on_mark=engine_marker(),
        ahead=ahead,
    )
    return request, spec.form


async def _estimate_schema(spec: RequestSpec, service: Service, owner: str, cost: PreparationCost) -> float:
    """Seconds that the engine will take to compile the answer's schema. BadRequest if it takes too long."""
    schema = spec.text.schema
    if schema is None or schema == ANY_OBJECT:
        return 0.0
    return await service.schema_costs.estimate(schema.text, owner, schema.param, cost)


async def _load_media(
    spec: RequestSpec,
    service: Service,
    reservation: Reservation,
    preparation: Preparation,
    start: RequestStart,
) -> Media:
    if spec.conversation.media is not None:
        return spec.conversation.media
    if not spec.conversation.sources:
        return Media()
    try:
        hold = partial(service.admission.hold_media, reservation)
        media = await service.media.load(
            spec.conversation.sources,
            hold,
            preparation.text_tokens,
            spec.cache_salt or "",
            start.begin_reading,
            start.begin_video,
            preparation.decoding,
        )
    except ApiError as error:
        service.metrics.media_rejected(error)
        raise
    mark("media_ready")
    service.metrics.media_heard(heard_seconds(media))
    return media


async def render_prompt(spec: RequestSpec, service: Service, cost: PreparationCost) -> tuple[int, ...]:
    """The tokens of the prompt, also counted in `cost`. Raises BadRequest and Overloaded."""
    try:
        prompt = await service.prompts.render(
            spec.conversation, spec.cache_salt or "", service.engine.card.context_tokens
        )
    except PromptTooLong as error:
        cost.count_read(min(error.tokens, service.engine.card.context_tokens))
        raise
    cost.count_read(len(prompt))
    return prompt
