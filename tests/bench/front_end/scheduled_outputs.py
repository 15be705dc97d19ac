"""The engine of both servers: vLLM's `RequestOutput`s on a schedule, each with the time of its creation.

A request with seed 1 gets one token and then nothing: an idle stream. Every other request gets one token per
step until `max_tokens`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.v1.engine.output_processor import RequestOutputCollector

IDLE_SEED = 1
# As vLLM's output handler does, so that one step of many requests does not block the event loop.
_AT_ONCE = 128


@dataclass(eq=False, slots=True)
class _Answer:
    request_id: str
    prompt_ids: list[int]
    left: int
    idle: bool
    outputs: RequestOutputCollector


class ScheduledOutputs:
    """`step_s`: time between two tokens of a request. All requests get theirs in the same step."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._answers: dict[_Answer, None] = {}
        self._steps: asyncio.Task[None] | None = None

    async def generate(
        self, prompt_ids: list[int], params: SamplingParams, request_id: str
    ) -> AsyncGenerator[RequestOutput]:
        """As `AsyncLLM.generate`: outputs that wait for their reader are merged."""
        if self._steps is None:
            self._steps = asyncio.create_task(self._run())
        collector = RequestOutputCollector(RequestOutputKind.DELTA, request_id)
        answer = _Answer(request_id, prompt_ids, params.max_tokens or 1, params.seed == IDLE_SEED, collector)
        self._answers[answer] = None
        try:
            finished = False
            while not finished:
                output = collector.get_nowait() or await collector.get()
                assert isinstance(output, RequestOutput)
                finished = output.finished
                yield output
        finally:
            self._answers.pop(answer, None)

    async def _run(self) -> None:
        due_s = time.monotonic()
        while True:
            due_s = max(due_s + self._step_s, time.monotonic())
            await asyncio.sleep(due_s - time.monotonic())
            for number, answer in enumerate(list(self._answers), start=1):
                self._put_token(answer)
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _put_token(self, answer: _Answer) -> None:
        answer.left -= 1
        ended = answer.left <= 0 and not answer.idle
        if ended or answer.idle:
            self._answers.pop(answer, None)
        text = f"@{time.monotonic_ns():x};"
        choice = CompletionOutput(0, text, [7], None, None, finish_reason="length" if ended else None)
        answer.outputs.put(
            RequestOutput(
                answer.request_id, None, answer.prompt_ids, None, [choice], ended, num_cached_tokens=0
            )
        )
