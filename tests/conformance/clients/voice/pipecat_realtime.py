"""Pipecat's realtime service in a pipeline with its aggregators: a spoken turn, a tool, an interruption."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from harness import COUNTING, KEY, MODEL, SWITCH, URL, microphone, report
from pipecat.frames import frames
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.realtime.events import SessionProperties
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.workers.runner import WorkerRunner

FRAME_S = 0.02
TOOLS = [{"type": "function", "name": "switch", "description": "Switch the lamp.", "parameters": SWITCH}]


class Ear(FrameProcessor):
    """Keeps what passes it, and wakes those that wait."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[frames.Frame] = []
        self._news = asyncio.Condition()

    async def process_frame(self, frame: frames.Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        assert not isinstance(frame, frames.ErrorFrame), frame
        async with self._news:
            self.heard.append(frame)
            self._news.notify_all()
        await self.push_frame(frame, direction)

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(40), self._news:
            await self._news.wait_for(condition)

    def count(self, kind: type[frames.Frame]) -> int:
        return sum(isinstance(frame, kind) for frame in self.heard)

    def text(self) -> str:
        return "".join(frame.text for frame in self.heard if isinstance(frame, frames.TTSTextFrame))

    def sound(self) -> bytes:
        return b"".join(frame.audio for frame in self.heard if isinstance(frame, frames.TTSAudioRawFrame))


class Talk:
    """A pipeline that runs: microphone, service, ear."""

    def __init__(self, worker: PipelineWorker, ear: Ear, errors: list[Any]) -> None:
        self.worker = worker
        self.ear = ear
        self.errors = errors

    async def speak(self) -> None:
        for pcm in microphone(FRAME_S):
            await self.worker.queue_frame(frames.InputAudioRawFrame(pcm, 24_000, 1))
            await asyncio.sleep(FRAME_S)


def service(**session: Any) -> OpenAIRealtimeLLMService:
    settings = OpenAIRealtimeLLMService.Settings(model=MODEL, session_properties=SessionProperties(**session))
    url = f"{URL.replace('http', 'ws', 1)}/v1/realtime"
    return OpenAIRealtimeLLMService(api_key=KEY, base_url=url, settings=settings)


@asynccontextmanager
async def talking(llm: OpenAIRealtimeLLMService, *said: str) -> AsyncIterator[Talk]:
    """`said`: messages of the user before the first answer."""
    context, ear = LLMContext([{"role": "user", "content": text} for text in said]), Ear()
    pair = LLMContextAggregatorPair(context)
    pipeline = Pipeline([pair.user(), llm, ear, pair.assistant()])
    rates = PipelineParams(audio_in_sample_rate=24_000, audio_out_sample_rate=24_000)
    worker = PipelineWorker(pipeline, cancel_on_idle_timeout=False, enable_rtvi=False, params=rates)
    started, errors = asyncio.Event(), []

    @worker.event_handler("on_pipeline_started")
    async def on_started(*_: Any) -> None:
        started.set()

    @worker.event_handler("on_pipeline_error")
    async def on_error(_: Any, frame: frames.ErrorFrame) -> None:
        errors.append(frame.error)

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await asyncio.wait_for(started.wait(), 60)
    if said:
        await worker.queue_frame(frames.LLMContextFrame(context))
    try:
        yield Talk(worker, ear, errors)
    finally:
        await worker.cancel()
        await asyncio.wait_for(running, 60)
    assert not errors, errors


def is_answered(ear: Ear) -> bool:
    return "twelve" in ear.text().lower() and ear.count(frames.TTSStoppedFrame) > 0


async def spoken_turn() -> None:
    async with talking(service()) as talk:
        await talk.speak()
        await talk.ear.until(lambda: is_answered(talk.ear))
        assert len(talk.ear.sound()) > 24_000
        assert any(talk.ear.sound())


async def tool_call() -> None:
    """The tool is forced, run, and its result is answered in speech."""
    llm = service(tools=TOOLS, tool_choice="required")
    calls = []

    async def switch(call: Any) -> None:
        calls.append(dict(call.arguments))
        settings = OpenAIRealtimeLLMService.Settings(session_properties=SessionProperties(tool_choice="none"))
        await llm.queue_frame(frames.LLMUpdateSettingsFrame(delta=settings))
        await call.result_callback({"done": True})

    llm.register_function("switch", switch)
    async with talking(llm, "Switch the lamp on.") as talk:
        await talk.ear.until(lambda: talk.ear.count(frames.TTSStoppedFrame))
        assert len(calls) == 1
        assert calls[0] in ({"on": True}, {"on": False})
        assert any(talk.ear.sound())


async def interruption() -> None:
    """The user asks something else while the answer is spoken; what was not heard is gone."""
    async with talking(service(), COUNTING) as talk:
        await talk.ear.until(lambda: talk.ear.count(frames.TTSAudioRawFrame))
        await talk.speak()
        await talk.ear.until(lambda: is_answered(talk.ear))
        assert "twenty" not in talk.ear.text().lower()
        assert talk.ear.count(frames.InterruptionFrame) == 1


if __name__ == "__main__":
    report("pipecat-ai", spoken_turn, tool_call, interruption)
