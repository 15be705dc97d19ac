"""One request in both stages: the Thinker's text and the Talker's speech as one stream of events.

Cancelling `RequestRun.run` aborts both stages' requests, and returns the speech slot, before it returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field
from typing import Any

from vllm.outputs import CompletionOutput, RequestOutput

from antiphon_executor.interface.event_stream import EventStream
from antiphon_executor.interface.events import PromptCounted, TextDelta, TextEnded
from antiphon_executor.interface.request import OmniRequest, SpeechSampling
from antiphon_executor.interface.settings import GuardSettings, PaceSettings, WaitSettings
from antiphon_executor.interface.spoken_length import VoicePaces
from antiphon_executor.ipc.bridge import Bridge
from antiphon_executor.ipc.messages import HiddenStates
from antiphon_executor.models.hidden_states.connector import request_hidden_states
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.models.thinker.inputs import count_prompt, engine_prompt
from antiphon_executor.stages.stage import Generate
from antiphon_executor.turn.cut_text import CutText
from antiphon_executor.turn.engine_times import mark_engine_times
from antiphon_executor.turn.held_text import HeldText
from antiphon_executor.turn.request_faults import finish_of
from antiphon_executor.turn.sampling_params import sampling_params, token_logprobs
from antiphon_executor.turn.slots import SlotTracker
from antiphon_executor.turn.speech_guard import SpeechGuard
from antiphon_executor.turn.speech_stream import SpokenStream, text_prompt
from antiphon_executor.turn.spoken_tokens import SpeakableText, Spoken
from antiphon_executor.turn.talker_session import Talker


@dataclass(frozen=True, slots=True)
class Stages:
    """The running engines, as a turn needs them. `talker` is None where the server does not speak.

    `encode`: text to the ids that the Talker reads. `guard` None: nothing is done about speech or its text.
    """

    think: Generate
    decode: Callable[[list[int]], str]
    ids: PromptIds
    thinker_eos: frozenset[int]
    talker: Talker | None
    bridge: Bridge
    ledger: SlotTracker
    guard: GuardSettings | None = None
    waits: WaitSettings = field(default_factory=WaitSettings)
    pacing: PaceSettings = field(default_factory=PaceSettings)
    encode: Callable[[str], list[int]] | None = None
    paces: VoicePaces = field(default_factory=VoicePaces)

    def cut_text(self) -> CutText | None:
        """Closes the text of one answer for the Talker where it is cut; None where it stays as it is."""
        if self.encode is None or self.guard is None or self.guard.cut_text == "leave":
            return None
        return CutText(self.decode, self.encode)


class RequestRun:
    """Runs one request. Use `run` once."""

    def __init__(self, stages: Stages, turn: OmniRequest) -> None:
        self._stages = stages
        self._turn = turn
        self._failure: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._stream: SpokenStream | None = None
        self._rows: asyncio.Future[HiddenStates] | None = None
        self._answered = False
        self._said = ""
        self._held_text = HeldText(turn.text.schema_param) if turn.text.json_schema is not None else None
        self._cut_text = stages.cut_text()
        self._speakable = SpeakableText(stages.decode, stages.thinker_eos, bool(turn.text.stop))

    @property
    def request_id(self) -> str:
        return self._turn.request_id

    def report_consumed(self, samples: int) -> None:
        """The client has taken this much of the turn's speech."""
        if self._stream is not None:
            self._stream.report_consumed(samples)

    @property
    def speaks(self) -> bool:
        return self._turn.speech is not None

    async def run(self, events: EventStream) -> None:
        """Puts the request's events. Raises `EngineBusy` before the Thinker starts if no slot is free."""
        with ExitStack() as leases:
            parts: list[asyncio.Task[None]] = []
            if self._turn.speech is not None and self._stages.talker is not None:
                self._stream = self._open_stream(self._turn.speech, self._stages.talker, leases)
                parts.append(asyncio.create_task(self._speak(self._stream, events)))
            parts.append(asyncio.create_task(self._think(events)))
            try:
                await self._until_done(parts)
            finally:
                for part in parts:
                    part.cancel()
                await asyncio.gather(*parts, return_exceptions=True)

    def _open_stream(self, speech: SpeechSampling, talker: Talker, leases: ExitStack) -> SpokenStream:
        stages, request_id = self._stages, self._turn.request_id
        slot = leases.enter_context(stages.ledger.lease())
        stream = SpokenStream(
            request_id,
            speech,
            talker,
            stages.bridge,
            slot,
            live=self._turn.live,
            on_mark=self._turn.on_mark,
            guard=SpeechGuard(stages.guard) if stages.guard is not None else None,
            waits=stages.waits,
            pace=stages.paces.of(speech.voice),
            park_s=stages.pacing.park_s,
        )
        leases.callback(stream.close)
        if _has_media(self._turn):
            # For as long as the turn lasts: rows of a short answer may come after its last token.
            self._rows = stages.bridge.expect_hidden_states(request_id)
            leases.callback(stages.bridge.discard_hidden_states, request_id)
        return stream

    async def _until_done(self, parts: list[asyncio.Task[None]]) -> None:
        while parts:
            awaited: list[asyncio.Future[Any]] = [self._failure, *parts]
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            if self._failure.done():
                raise self._failure.result()
            for part in [part for part in parts if part.done()]:
                if part.cancelled():
                    raise RuntimeError("a part of the request was cancelled")
                part.result()
                parts.remove(part)

    def fail(self, error: Exception) -> None:
        """Ends the request with `error`, behind the events that are already there."""
        if not self._failure.done():
            self._failure.set_result(error)

    async def _speak(self, stream: SpokenStream, events: EventStream) -> None:
        async for event in stream.events():
            await events.put(event)

    async def _think(self, events: EventStream) -> None:
        turn, stages = self._turn, self._stages
        extra_args = request_hidden_states(turn.request_id) if self._rows is not None else None
        counted = False
        params = sampling_params(turn.text, extra_args)
        prompt = await asyncio.to_thread(engine_prompt, turn, stages.ids)
        async with aclosing(stages.think(prompt, params, turn.request_id)) as outputs:
            async for output in outputs:
                if not counted:
                    counted = True
                    mark_engine_times(turn.on_mark, "thinker", output)
                    await events.put(self._count(output))
                    self._begin_speech(output)
                for choice in output.outputs:
                    await self._pass_on(choice, events)

    def _count(self, output: RequestOutput) -> PromptCounted:
        ids, cached = self._stages.ids, output.num_cached_tokens or 0
        return count_prompt(output.prompt_token_ids or [], ids, cached)

    def _begin_speech(self, output: RequestOutput) -> None:
        stream, rows = self._stream, self._rows
        if stream is None:
            return
        if rows is None:
            stream.begin(text_prompt(output.prompt_token_ids or []))
        else:
            stream.begin_with(rows)

    async def _pass_on(self, choice: CompletionOutput, events: EventStream) -> None:
        """Raises where the engine has ended the choice with an error."""
        token_ids = list(choice.token_ids)
        ended = choice.finish_reason
        reason = finish_of(ended, self._turn, answered=self._answered) if ended is not None else None
        self._answered = self._answered or bool(token_ids)
        top = self._turn.text.top_logprobs
        logprobs = token_logprobs(token_ids, choice.logprobs, top) if top is not None else ()
        spoken = self._speakable.take(token_ids, choice.text) if self._stream is not None else Spoken((), ())
        if choice.text or token_ids:
            delta = TextDelta(choice.index, choice.text, len(token_ids), logprobs, spoken.ends)
            await events.put(delta)
        if self._held_text is not None:
            self._held_text.see(choice.index, choice.text)
            if reason == "stop" and not isinstance(choice.stop_reason, str):
                self._held_text.check_whole(choice.index)
        if self._stream is not None:
            self._say(self._stream, spoken, choice)
        if reason is not None:
            await events.put(TextEnded(choice.index, reason))

    def _say(self, stream: SpokenStream, spoken: Spoken, choice: CompletionOutput) -> None:
        """Hands text to the Talker; closed, where it ends without the Thinker having ended it."""
        self._said += choice.text
        token_ids: Sequence[int] = spoken.token_ids
        ended = choice.finish_reason
        if ended is not None:
            cut = ended != "stop" or isinstance(choice.stop_reason, str)
            if cut and self._cut_text is not None:
                token_ids = self._cut_text.close(token_ids)
            stream.text_ended(self._said, cut=cut)
        elif self._cut_text is not None:
            self._cut_text.see(token_ids)
        if token_ids or ended is not None:
            stream.feed(token_ids, final=ended is not None)


def _has_media(turn: OmniRequest) -> bool:
    media = turn.media
    return bool(media.audios or media.pictures or media.videos)
