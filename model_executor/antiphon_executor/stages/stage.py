"""One running vLLM engine, and how it starts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from vllm import RequestOutput, SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.engine.protocol import StreamingInput
from vllm.inputs import TokensPrompt
from vllm.platforms import current_platform
from vllm.v1.engine.async_llm import AsyncLLM

from antiphon_executor.interface.errors import InvalidRequest
from antiphon_executor.ipc.cpu_time import cpu_time_s
from antiphon_executor.stages.metrics import StageMetrics
from antiphon_executor.stages.supervisor import SupervisedStage
from antiphon_executor.stages.worker_report import REPORT

# An engine that has just loaded has nothing else to do.
_FIRST_ANSWER_S = 60.0

Progress = Callable[[str], None]
Generate = Callable[[TokensPrompt, SamplingParams, str], AsyncGenerator[RequestOutput]]
Converse = Callable[[AsyncGenerator[StreamingInput], SamplingParams, str], AsyncGenerator[RequestOutput]]


class Stage:
    """One running vLLM engine. `is_heard`: whether what its processes send to the server is read there."""

    def __init__(self, name: str, llm: AsyncLLM, metrics: StageMetrics, is_heard: Callable[[], bool]) -> None:
        self.name = name
        self.llm = llm
        self.metrics = metrics
        self._is_heard = is_heard
        self._processes: tuple[int, ...] = ()
        self.compiling_s = 0.0

    async def generate(
        self, prompt: TokensPrompt, params: SamplingParams, request_id: str
    ) -> AsyncGenerator[RequestOutput]:
        """Outputs of one request. Media are prepared off the event loop; closing it aborts the request.

        InvalidRequest where the prompt leaves no room for an answer.
        """
        (rendered,) = await self.llm.renderer.render_cmpl_async([prompt])
        check_room(len(rendered.get("prompt_token_ids", ())), self.llm.model_config.max_model_len)
        try:
            async with aclosing(self.llm.generate(rendered, params, request_id)) as outputs:
                async for output in outputs:
                    yield output
        except (asyncio.CancelledError, GeneratorExit):
            # vLLM aborts by itself, but not while a request is still on its way to the engine.
            await self.llm.abort(request_id)
            raise

    async def converse(
        self, inputs: AsyncGenerator[StreamingInput], params: SamplingParams, request_id: str
    ) -> AsyncGenerator[RequestOutput]:
        """Outputs of one session: its inputs extend one sequence, each when the one before has been answered.

        Closing it aborts the session. `inputs` must give nothing more from then on, nor end: vLLM would take
        what follows for a new request. It has a request of its own for the session's end, from `params`.
        """
        try:
            async with aclosing(self.llm.generate(inputs, params, request_id)) as outputs:
                async for output in outputs:
                    yield output
        except (asyncio.CancelledError, GeneratorExit):
            await self.llm.abort(request_id)
            raise

    @property
    def alive(self) -> bool:
        return not self.llm.errored and self._is_heard()

    async def ping(self) -> None:
        """Returns when the engine has answered: it does so between two steps."""
        reports = await self.llm.collective_rpc(REPORT)
        self._processes = tuple(process for process, _ in reports)
        self.compiling_s = max((seconds for _, seconds in reports), default=0.0)

    def computed_s(self) -> float:
        """0 on a GPU: there no step takes seconds, and a thread that waits for one is never idle."""
        return cpu_time_s(self._processes) if current_platform.is_cpu() else 0.0

    async def end(self) -> None:
        """Ends the engine's processes, off the event loop: vLLM waits for them, and kills what stays."""
        await asyncio.to_thread(self.llm.shutdown)

    @property
    def running(self) -> int:
        return self.llm.output_processor.get_num_unfinished_requests()


def check_room(prompt_tokens: int, context_tokens: int) -> None:
    """Of a prompt with its media expanded."""
    if prompt_tokens >= context_tokens:
        raise InvalidRequest(
            f"the prompt has {prompt_tokens} tokens with its media; the model's context is {context_tokens} "
            "tokens",
            "messages",
            "context_length_exceeded",
        )


def generate_of(stage: SupervisedStage[Stage]) -> Generate:
    """`Stage.generate` of the engine that runs when it is called."""

    def generate(
        prompt: TokensPrompt, params: SamplingParams, request_id: str
    ) -> AsyncGenerator[RequestOutput]:
        return stage.engine.generate(prompt, params, request_id)

    return generate


def converse_of(stage: SupervisedStage[Stage]) -> Converse:
    """`Stage.converse` of the engine that runs when it is called."""

    def converse(
        inputs: AsyncGenerator[StreamingInput], params: SamplingParams, request_id: str
    ) -> AsyncGenerator[RequestOutput]:
        return stage.engine.converse(inputs, params, request_id)

    return converse


class _Loading:
    """An engine that loads in a thread, which nothing can stop.

    If its caller has gone by the time it has loaded, it is ended at once.
    """

    def __init__(self, load: Callable[[], AsyncLLM]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._abandoned = False
        self._loaded: AsyncLLM | None = None

    def run(self) -> AsyncLLM:
        loaded = self._load()
        with self._lock:
            self._loaded = loaded
            abandoned = self._abandoned
        if abandoned:
            loaded.shutdown()
        return loaded

    def abandon(self) -> AsyncLLM | None:
        """-> what had loaded already, for the caller to end."""
        with self._lock:
            self._abandoned = True
            return self._loaded


async def start_stage(
    name: str,
    arguments: AsyncEngineArgs,
    progress: Progress,
    is_heard: Callable[[], bool] = lambda: True,
) -> Stage:
    """Cancelled while the engine loads, it returns at once; the engine then ends as soon as it has loaded."""
    progress(f"{name}: loading")
    metrics = StageMetrics(name)
    loading = _Loading(lambda: AsyncLLM.from_engine_args(arguments, stat_loggers=[metrics.stat_logger]))
    try:
        llm = await asyncio.to_thread(loading.run)
    except asyncio.CancelledError:
        if (loaded := loading.abandon()) is not None:
            await asyncio.to_thread(loaded.shutdown)
        raise
    progress(f"{name}: ready")
    stage = Stage(name, llm, metrics, is_heard)
    # It tells of its processes, whose time is looked at when a later ping is not answered.
    try:
        async with asyncio.timeout(_FIRST_ANSWER_S):
            await stage.ping()
    except TimeoutError:
        await stage.end()
        raise RuntimeError(f"the {name} engine has loaded and does not answer") from None
    except BaseException:
        await stage.end()
        raise
    return stage
