"""Runs one request through both stages and merges the Thinker's text and the Talker's speech.

Cancelling `RequestRun.run` aborts both stages' requests and releases the speech slot before it returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack, aclosing
from typing import Any

from vllm.outputs import CompletionOutput, RequestOutput

from antiphon_executor.interface.event_stream import EventStream
from antiphon_executor.interface.events import PromptCounted, TextDelta, TextEnded
from antiphon_executor.interface.request import OmniRequest, ReadingRequest, SpeechSampling
from antiphon_executor.ipc.messages import HiddenStates
from antiphon_executor.models.hidden_states.connector import request_hidden_states
from antiphon_executor.models.thinker.inputs import count_prompt, engine_prompt
from antiphon_executor.stages.prefill_progress import prefill_progress
from antiphon_executor.turn.engine_times import mark_engine_times
from antiphon_executor.turn.json_check import JsonCheck
from antiphon_executor.turn.request_context import RequestContext
from antiphon_executor.turn.request_errors import finish_reason
from antiphon_executor.turn.sampling_params import sampling_params, token_logprobs
from antiphon_executor.turn.speech_guard import SpeechGuard
from antiphon_executor.turn.speech_stream import SpeechStream, text_prompt
from antiphon_executor.turn.spoken_tokens import SpokenTokenFilter, SpokenTokens
from antiphon_executor.turn.talker_session import Talker

# Media, and longer prompts, take milliseconds to prepare, which would block the event loop. For others a
# thread would cost more than the work.
_SHORT_PROMPT_TOKENS = 16_384


class RequestRun:
    """Runs one request. Use `run` once."""

    def __init__(self, context: RequestContext, request: OmniRequest) -> None:
        text = request.text
        self._context = context
        self._request = request
        # The engine reads stored frames while it computes the prompt, and again after a preemption.
        self._leases = request.media.leases
        self._failure: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        # The task of a request without speech, which needs no other.
        self._alone: asyncio.Task[object] | None = None
        self._stream: SpeechStream | None = None
        self._hidden_states: asyncio.Future[HiddenStates] | None = None
        self._answered = False
        self._text = ""
        self._json_check = JsonCheck(text.schema.param) if text.schema is not None else None
        self._cut_text = context.cut_text()
        self._spoken_tokens = SpokenTokenFilter(
            context.decode, context.thinker_eos, bool(text.stop), request.unspoken_from
        )
        self._is_spoken = False

    @property
    def request_id(self) -> str:
        return self._request.request_id

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that it needs."""
        return ("thinker",) if self._request.speech is None else ("thinker", "talker")

    def report_consumed(self, samples: int) -> None:
        """The client has consumed `samples` of the request's speech in total."""
        if self._stream is not None:
            self._stream.report_consumed(samples)

    async def run(self, events: EventStream) -> None:
        """Puts the request's events. Raises `EngineBusy` before the Thinker starts if no slot is free."""
        if self._request.speech is None or self._context.talker is None:
            await self._run_alone(events)
            return
        with ExitStack() as leases:
            self._stream = self._open_stream(self._request.speech, self._context.talker, leases)
            parts = [
                asyncio.create_task(self._run_talker(self._stream, events)),
                asyncio.create_task(self._run_thinker(events)),
            ]
            try:
                await self._until_ended(parts)
            finally:
                for part in parts:
                    part.cancel()
                await asyncio.gather(*parts, return_exceptions=True)

    def fail(self, error: Exception) -> None:
        """Ends the request with `error`, after the events that are already queued."""
        if not self._failure.done():
            self._failure.set_result(error)
            if self._alone is not None:
                self._alone.cancel()

    def _open_stream(self, speech: SpeechSampling, talker: Talker, leases: ExitStack) -> SpeechStream:
        context, request_id = self._context, self.request_id
        slot = leases.enter_context(context.slots.lease_slot())
        stream = open_speech(context, self._request, speech, talker, slot)
        leases.callback(stream.close)
        if context.reads_user_text or self._request.has_media:
            # Until the request ends: hidden states of a short answer may arrive after its last token.
            self._hidden_states = context.bridge.expect_hidden_states(request_id)
            leases.callback(context.bridge.discard_hidden_states, request_id)
        return stream

    async def _run_alone(self, events: EventStream) -> None:
        task = self._alone = asyncio.current_task()
        try:
            await self._run_thinker(events)
        except asyncio.CancelledError:
            if self._failure.done():
                raise self._failure.result() from None
            if task is not None and not task.cancelling():
                raise RuntimeError("the engine cancelled the request") from None
            raise
        finally:
            self._alone = None

    async def _until_ended(self, parts: list[asyncio.Task[None]]) -> None:
        while parts:
            awaited: list[asyncio.Future[Any]] = [self._failure, *parts]
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            if self._failure.done():
                raise self._failure.result()
            for part in [part for part in parts if part.done()]:
                if part.cancelled():
                    raise RuntimeError("one stage's part of the request was cancelled")
                part.result()
                parts.remove(part)

    async def _run_talker(self, stream: SpeechStream, events: EventStream) -> None:
        async with aclosing(stream.events()) as speech:
            async for event in speech:
                await events.put(event)

    async def _run_thinker(self, events: EventStream) -> None:
        request, context = self._request, self._context
        extra_args = request_hidden_states(request.request_id) if self._hidden_states is not None else None
        counted = False
        params = sampling_params(request.text, extra_args)
        async with AsyncExitStack() as reading:
            if request.has_media or len(request.prompt_token_ids) > _SHORT_PROMPT_TOKENS:
                progress = prefill_progress(request.request_id, context.prefill_of, events)
                await reading.enter_async_context(progress)
                prompt = await asyncio.to_thread(engine_prompt, request, context.ids, context.media)
            else:
                prompt = engine_prompt(request, context.ids, context.media)
            if self._stream is not None and self._hidden_states is None:
                # Without media the Talker needs the ids alone: both stages compute their prompts at once.
                self._stream.set_prompt(text_prompt(prompt["prompt_token_ids"]))
            generating = context.generate_text(prompt, params, request.request_id)
            # The generator alone holds decoded media now, until the engine has their features.
            self._request = request = request.without_media()
            del prompt
            async with aclosing(generating) as outputs:
                async for output in outputs:
                    if not counted:
                        counted = True
                        await reading.aclose()
                        mark_engine_times(request.on_mark, "thinker", output)
                        await events.put(self._prompt_counted(output))
                        if self._stream is not None and self._hidden_states is not None:
                            self._stream.set_prompt_from(self._hidden_states)
                    for choice in output.outputs:
                        await self._put_choice(choice, events)

    def _prompt_counted(self, output: RequestOutput) -> PromptCounted:
        cached = self._request.ahead.cached(output.num_cached_tokens or 0)
        return count_prompt(output.prompt_token_ids or [], self._context.ids, cached)

    async def _put_choice(self, choice: CompletionOutput, events: EventStream) -> None:
        """Raises if the engine has ended the choice with an error."""
        token_ids = list(choice.token_ids)
        ended = choice.finish_reason
        reason = finish_reason(ended, self._request, answered=self._answered) if ended is not None else None
        self._answered = self._answered or bool(token_ids)
        top = self._request.text.top_logprobs
        logprobs = token_logprobs(token_ids, choice.logprobs, top) if top is not None else ()
        spoken = SpokenTokens((), ())
        if self._stream is not None:
            # The token that stops a text is in no text.
            is_stop_token = ended == "stop" and isinstance(choice.stop_reason, int)
            text_ids = token_ids[:-1] if is_stop_token else token_ids
            spoken = self._spoken_tokens.release(text_ids, choice.text)
        if choice.text or token_ids:
            ids = tuple(token_ids)
            delta = TextDelta(choice.index, choice.text, len(ids), logprobs, spoken.ends, ids)
            await events.put(delta)
        if self._json_check is not None:
            self._json_check.append(choice.index, choice.text)
            if reason == "stop" and self._is_own_end(choice):
                self._json_check.require_complete(choice.index)
        if self._stream is not None:
            self._send_to_talker(self._stream, spoken, choice)
        if reason is not None:
            await events.put(TextEnded(choice.index, reason))

    def _is_own_end(self, choice: CompletionOutput) -> bool:
        """Whether the model's end token stopped the text, and not a stop string or token of the client."""
        return choice.stop_reason is None or choice.stop_reason in self._context.thinker_eos

    def _send_to_talker(self, stream: SpeechStream, spoken: SpokenTokens, choice: CompletionOutput) -> None:
        """Passes text to the Talker, with a full stop if the Thinker did not end it by itself."""
        if self._spoken_tokens.is_over:
            self._end_speech(stream, spoken.token_ids)
            return
        self._text += choice.text
        token_ids: Sequence[int] = spoken.token_ids
        ended = choice.finish_reason
        if ended is None:
            if self._cut_text is not None:
                self._cut_text.remember(token_ids)
        elif ended == "stop" and self._is_own_end(choice):
            stream.text_completed(self._text)
        else:
            if self._cut_text is not None:
                token_ids = self._cut_text.with_full_stop(token_ids)
            stream.text_was_cut(self._text)
        if token_ids or ended is not None:
            stream.add_text(token_ids, final=ended is not None)

    def _end_speech(self, stream: SpeechStream, token_ids: Sequence[int]) -> None:
        """Ends the text of the speech before that of the answer: the rest is a tool call."""
        if self._is_spoken:
            return
        self._is_spoken = True
        if self._cut_text is not None:
            token_ids = self._cut_text.with_full_stop(token_ids)
        stream.text_was_cut(self._spoken_tokens.text)
        stream.add_text(token_ids, final=True)


def open_speech(
    context: RequestContext,
    request: OmniRequest | ReadingRequest,
    speech: SpeechSampling,
    talker: Talker,
    slot: int,
) -> SpeechStream:
    """A speech stream of a request, in the slot that it has leased. The caller closes it."""
    return SpeechStream(
        request.request_id,
        speech,
        talker,
        context.bridge,
        slot,
        live=request.live,
        on_mark=request.on_mark,
        guard=SpeechGuard(context.guard) if context.guard is not None else None,
        waits=context.waits,
        pace=context.voice_paces.of(speech.voice),
        park_s=context.pacing.park_s,
    )
