"""Reads the prompts of a connection's next answers ahead, while the user still speaks.

Only speech that will be answered, detected or pushed, while no request waits, the server does not drain and
the key is within its limits. It takes a place of its own among the requests for text, and is free.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Coroutine

import numpy as np

from antiphon_executor.interface.errors import EngineError
from antiphon_executor.interface.events import PromptCounted
from antiphon_executor.interface.media import Media
from antiphon_executor.interface.request import OmniRequest, TextSampling, TokensAhead
from antiphon_server.admission.cost_model import RequestSize, heard_seconds, media_seconds, tokens_of
from antiphon_server.admission.reservation import Reservation
from antiphon_server.chat.request_spec import RequestSpec
from antiphon_server.chat.service import Service
from antiphon_server.errors import ApiError
from antiphon_server.http.lifecycle import Lifecycle
from antiphon_server.http.realtime.live_speech import LiveSpeech
from antiphon_server.realtime.audio.sound import HeardSound, WrittenClip
from antiphon_server.realtime.items import HeardPart, Message
from antiphon_server.realtime.machine import RealtimeMachine
from antiphon_server.realtime.response_spec import build_response_spec

_log = logging.getLogger("antiphon.realtime")
# What is read ahead is free. So many seconds of speech that is cleared may be, and as many as became turns.
_SPARE_S = 60
_ONE_TOKEN = TextSampling(max_tokens=1, temperature=0.0)


class SpeechAhead:
    """`follow` after each frame and event; `finished` before a response; `close` when the connection ends."""

    def __init__(
        self, machine: RealtimeMachine, service: Service, life: Lifecycle, model: str, owner: str | None
    ) -> None:
        self._machine = machine
        self._service = service
        self._life = life
        self._model = model
        self._owner = owner
        self._speech: LiveSpeech | None = None
        self._cleared_s = self._taken_s = 0.0
        self._ending: set[asyncio.Task[None]] = set()

    def follow(self) -> None:
        """The machine has gone on."""
        speech = self._machine.speech
        if self._speech is not None and (speech is None or speech.start != self._speech.start):
            self._cleared_s += self._speech.encoded_s
            self._end(self._speech.stop())
        if speech is None or not self._machine.answers or not self._service.engine.card.reads_ahead:
            return
        if self._speech is None:
            if self._cleared_s > _SPARE_S + self._taken_s:
                return
            self._speech = LiveSpeech(speech.start, self._service.engine, self._read)
        live = self._speech
        if live.needs(speech):
            live.add(self._machine.speech_samples(live.until, speech.until), speech)

    def take(self, sound: HeardSound) -> None:
        """The speech has become an item of the conversation."""
        self._taken_s += sound.seconds
        if self._speech is not None:
            self._end(self._speech.finish(sound))

    async def finished(self) -> None:
        """What was taken has its clip."""
        if self._ending:
            await asyncio.wait(set(self._ending))

    async def close(self) -> None:
        if self._speech is not None:
            self._end(self._speech.stop())
        await self.finished()

    def _end(self, ending: Coroutine[None, None, None]) -> None:
        self._speech = None
        task = asyncio.create_task(ending)
        self._ending.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._ending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # The sound is then sent as it is.
            _log.error("speech could not be written", exc_info=error)

    async def _read(self, live: LiveSpeech, written: WrittenClip) -> None:
        """An error is met again by the answer's request."""
        sound = HeardSound(np.zeros(0, np.int16), "", written)
        plan = self._machine.plan_answer(Message("", "user", [HeardPart(sound)]))
        admission = self._service.admission
        load, shortage = admission.load, admission.rates.shortage(self._owner or "", 1, 1.0)
        if (
            plan is None
            or load.waiting_text
            or load.waiting_speech
            or shortage
            or self._life.closed_because()
        ):
            return
        name = f"speech-{secrets.token_hex(12)}"
        try:
            spec = build_response_spec(plan, name, self._service, self._model, self._owner)
            await self._read_prompt(spec, live)
        except (ApiError, EngineError):
            _log.info("the speech so far is not read ahead", exc_info=True)

    async def _read_prompt(self, spec: RequestSpec, live: LiveSpeech) -> None:
        service, owner = self._service, spec.cache_salt or ""
        card, admission = service.engine.card, service.admission
        prompt = await service.prompts.render(spec.conversation, owner, card.context_tokens)
        media = spec.conversation.media or Media()
        size = RequestSize(
            prompt_tokens=len(prompt) + tokens_of(media, card.media),
            max_tokens=1,
            media_seconds=media_seconds(media),
            heard_seconds=heard_seconds(media),
        )
        before = live.ahead
        request = OmniRequest(spec.head.id, prompt, media, _ONE_TOKEN, cache_salt=spec.cache_salt)
        with admission.admit(Reservation(owner, part_of=Reservation(owner))) as reservation:
            await admission.wait_for_slot(reservation, size)
            # Even if it is aborted, some of it has been read.
            live.ahead = TokensAhead(size.prompt_tokens, before.found)
            async with service.engine.generate(request) as events:
                async for event in events:
                    if isinstance(event, PromptCounted):
                        admission.count_prompt(reservation, event)
                        live.ahead = TokensAhead(event.total, before.cached(event.cached))
                        service.metrics.speech_read_ahead(event.total - event.cached)
