"""The HTTP response of a text completion, whole or streamed. Its prompts run side by side."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from starlette.types import Receive, Scope, Send

from antiphon_executor.interface.event_stream import EndOfStream, IdleTimeout
from antiphon_server.chat.prompts_run import PromptRequest
from antiphon_server.chat.response.text_completion import TextChoices
from antiphon_server.chat.service import Service
from antiphon_server.chat.text_spec import TextSpec
from antiphon_server.chat.usage import sum_of
from antiphon_server.http.streaming.answer_response import AnswerResponse
from antiphon_server.http.streaming.sse import KEEP_ALIVE, SseResponse, frame
from antiphon_server.openai_api.completions import TextChoice, TextCompletion
from antiphon_server.openai_api.response import Usage

T = TypeVar("T")

# The prompts of one response that run side by side; the rest of them follow.
_AT_ONCE = 8


class TextResponse(AnswerResponse):
    """`requests`: gives one for each prompt of `spec`. `prompts`: their texts, which an echo begins with."""

    def __init__(
        self,
        spec: TextSpec,
        requests: AbstractAsyncContextManager[Sequence[PromptRequest]],
        prompts: Sequence[str],
        service: Service,
        rates: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        super().__init__(spec.stream, service, rates)
        self._spec = spec
        self._requests = requests
        self._prompts = prompts

    async def send_whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._requests as requests:
            answers = await self._all([self._answer(*one) for one in enumerate(requests)])
        choices = [choice for answer, _ in answers for choice in answer.whole()]
        answer = self._completion(choices, sum_of([usage for _, usage in answers]))
        await self.send_json(answer.to_json(), scope, receive, send)

    async def send_events(self, sse: SseResponse) -> None:
        policy = self._service.settings.chat
        chunks = _Chunks(sse, policy.silence_s)
        waking = asyncio.create_task(chunks.keep_alive(policy.headers_s))
        try:
            async with self._requests as requests:
                usages = await self._all([self._send_prompt(*one, chunks) for one in enumerate(requests)])
        finally:
            waking.cancel()
            await asyncio.gather(waking, return_exceptions=True)
        if self._spec.include_usage:
            await chunks.send([self._completion([], sum_of(usages))])
        await sse.end_response()

    async def _answer(self, number: int, request: PromptRequest) -> tuple[TextChoices, Usage]:
        async with request as running:
            choices = self._choices(number)
            await running.write_whole(choices)
        return choices, running.state.usage.usage()

    async def _send_prompt(self, number: int, request: PromptRequest, chunks: _Chunks) -> Usage:
        async with request as running:
            choices = self._choices(number)
            events = running.events
            while True:
                try:
                    event = await events.next(self._service.settings.chat.silence_s)
                except IdleTimeout:
                    continue
                except EndOfStream:
                    break
                for one in (event, *events.take_ready()):
                    await running.state.apply(one, choices)
                await chunks.send([self._completion([piece]) for piece in choices.take_pieces()])
        return running.state.usage.usage()

    async def _all(self, jobs: Sequence[Awaitable[T]]) -> list[T]:
        """Results in order. The first failure cancels the other jobs, and is raised once they have ended."""
        choices = self._spec.prompts[0].form.choices
        slots = asyncio.Semaphore(self._service.admission.capacity.side_by_side(_AT_ONCE, choices))

        async def in_turn(job: Awaitable[T]) -> T:
            async with slots:
                return await job

        tasks = [asyncio.ensure_future(in_turn(job)) for job in jobs]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _choices(self, number: int) -> TextChoices:
        count = self._spec.prompts[number].form.choices
        return TextChoices(number * count, count, self._prompts[number] if self._spec.echo else "")

    def _completion(self, choices: list[TextChoice], usage: Usage | None = None) -> TextCompletion:
        spec = self._spec
        return TextCompletion(
            id=spec.id, created=spec.created, model=spec.model, choices=choices, usage=usage
        )


class _Chunks:
    """Writes the chunks of all prompts to one response, a whole chunk at a time."""

    def __init__(self, sse: SseResponse, silence_s: float) -> None:
        self._sse = sse
        self._silence_s = silence_s
        self._lock = asyncio.Lock()
        self._sent_at_s = time.monotonic()

    async def send(self, chunks: list[TextCompletion]) -> None:
        await self._send(b"".join([frame(chunk.to_json()) for chunk in chunks]))

    async def keep_alive(self, headers_s: float) -> None:
        """Starts the response after `headers_s`, and then writes a comment whenever it has been silent."""
        await asyncio.sleep(headers_s)
        await self._send(b"")
        while True:
            silent_s = time.monotonic() - self._sent_at_s
            await asyncio.sleep(max(self._silence_s - silent_s, 0.0))
            if time.monotonic() - self._sent_at_s >= self._silence_s:
                await self._send(KEEP_ALIVE)

    async def _send(self, data: bytes) -> None:
        async with self._lock:
            if not self._sse.started:
                await self._sse.start_response()
            self._sent_at_s = time.monotonic()
            await self._sse.send_data(data)
