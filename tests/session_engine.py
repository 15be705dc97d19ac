"""vLLM 0.32's streaming sessions without a model: the same rules, tokens from a script.

Inputs queue until their turn. Each discards the last sampled token, which was never computed. The given lists
are kept and extended. Outputs are deltas. An abort precedes the cancellation of the task that reads inputs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import msgspec
from vllm import SamplingParams
from vllm.engine.protocol import StreamingInput
from vllm.sampling_params import RequestOutputKind

from antiphon_executor.ipc.messages import SpeechFrames
from antiphon_executor.models.aria.prompt import AriaStart
from antiphon_executor.models.talker.slots import EXTRA_ARG

CODES = 8


@dataclass
class Session:
    """`rows`: what the engine has computed or will; `inputs`: their ids and budgets as they were sent."""

    start: AriaStart
    rows: list[int]
    prompt: list[int]
    inputs: list[tuple[list[int], int]] = field(default_factory=list)
    frames: int = 0


class SessionEngine:
    """`run_session` is a `RunSession`. A stream's EOS comes after `speech` frames, never before `tts_eos`.

    While `steps` is cleared nothing is computed; while `sent` is, an input is on its way to the engine.
    """

    def __init__(self, eos: int, tts_eos: int, deliver: Callable[[SpeechFrames], None]) -> None:
        self.speech = 6
        self.steps = asyncio.Event()
        self.steps.set()
        self.sent = asyncio.Event()
        self.sent.set()
        self.sessions: list[Session] = []
        self.opened = asyncio.Event()
        self.aborted: list[str] = []
        self.after_abort: list[StreamingInput | str] = []
        self.while_aborting: Callable[[], None] = lambda: None
        self.reading: list[asyncio.Task[None]] = []
        self._eos = eos
        self._tts_eos = tts_eos
        self._deliver = deliver

    async def run_session(
        self, inputs: AsyncGenerator[StreamingInput], params: SamplingParams, request_id: str
    ) -> AsyncGenerator[Any]:
        check(params)
        queue: asyncio.Queue[StreamingInput | Exception | None] = asyncio.Queue()
        reading = asyncio.create_task(self._read(inputs, queue, request_id))
        self.reading.append(reading)
        session: Session | None = None
        try:
            while (entering := await queue.get()) is not None:
                if isinstance(entering, Exception):
                    raise entering
                session = self._extend(session, entering)
                async for output in self._draw(session):
                    yield output
        except (asyncio.CancelledError, GeneratorExit):
            self.aborted.append(request_id)
            self.while_aborting()
            for _ in range(3):
                await asyncio.sleep(0)
            raise
        finally:
            reading.cancel()

    async def _read(
        self,
        inputs: AsyncGenerator[StreamingInput],
        queue: asyncio.Queue[StreamingInput | Exception | None],
        request_id: str,
    ) -> None:
        try:
            async for entering in inputs:
                check(entering.sampling_params)
                if request_id in self.aborted:
                    self.after_abort.append(entering)
                queue.put_nowait(entering)
                await self.sent.wait()
        except Exception as error:
            queue.put_nowait(error)
        if request_id in self.aborted:
            self.after_abort.append("the end")
        queue.put_nowait(None)

    def _extend(self, session: Session | None, entering: StreamingInput) -> Session:
        given = entering.prompt["prompt_token_ids"]
        sent = (list(given), entering.sampling_params.max_tokens)
        if session is None:
            start = msgspec.msgpack.decode(entering.sampling_params.extra_args[EXTRA_ARG], type=AriaStart)
            session = Session(start, list(given), given)
            self.sessions.append(session)
            self.opened.set()
        else:
            assert not entering.sampling_params.extra_args
            kept = session.rows[len(session.prompt) : -1]
            session.prompt.extend([*kept, *given])
            session.rows = list(session.prompt)
        session.inputs.append(sent)
        return session

    async def _draw(self, session: Session) -> AsyncIterator[Any]:
        wanted = session.inputs[-1][1]
        if len(session.inputs) == 1 and session.start.unheard_tokens:
            await self.steps.wait()
            session.rows.append(0)
            yield SimpleNamespace(outputs=[SimpleNamespace(token_ids=[0], finish_reason="length")])
            return
        for drawn in range(1, wanted + 1):
            await self.steps.wait()
            await asyncio.sleep(0)
            ends = self._tts_eos in session.rows and session.frames >= self.speech
            token = self._eos if ends else session.frames % CODES
            session.rows.append(token)
            pcm = bytes([session.frames % 256, 0])
            self._deliver(SpeechFrames(session.start.stream, session.frames, b"", pcm, ends))
            session.frames += not ends
            reason = "stop" if ends else "length" if drawn == wanted else None
            yield SimpleNamespace(outputs=[SimpleNamespace(token_ids=[token], finish_reason=reason)])
            if ends:
                return


def check(params: SamplingParams) -> None:
    """What vLLM refuses in a session."""
    assert params.n == 1
    assert params.output_kind is not RequestOutputKind.FINAL_ONLY
    assert not params.stop
    assert params.max_tokens is not None
    assert params.max_tokens >= 1
