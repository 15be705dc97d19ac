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

from antiphon_executor.interface.errors import InvalidRequest, RequestFailed
from antiphon_executor.ipc.cpu_time import cpu_time_s
from antiphon_executor.stages.media_renderer import Features, MediaRenderer
from antiphon_executor.stages.metrics import StageMetrics
from antiphon_executor.stages.supervisor import SupervisedStage
from antiphon_executor.stages.worker_report import REPORT

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.v1.engine.async_llm.AsyncLLM": (
        "errored",
        "model_config",
        "output_processor",
        "renderer",
        "vllm_config",
    ),
    "vllm.renderers.base.BaseRenderer": (
        "render_cmpl(prompts, tok_params, prompt_extras, skip_mm_cache)",
        "render_cmpl_async(prompts, tok_params, prompt_extras, skip_mm_cache)",
    ),
    "vllm.v1.engine.output_processor.OutputProcessor": ("get_num_unfinished_requests()",),
}

# An engine that has just loaded is idle, so it must answer within this time.
_FIRST_ANSWER_S = 60.0

Progress = Callable[[str], None]
Generate = Callable[[TokensPrompt, SamplingParams, str], AsyncGenerator[RequestOutput]]
RunSession = Callable[[AsyncGenerator[StreamingInput], SamplingParams, str], AsyncGenerator[RequestOutput]]


class Stage:
    """One running vLLM engine. `is_reading`: whether the server still reads the engine's messages."""

    def __init__(
        self, name: str, llm: AsyncLLM, metrics: StageMetrics, is_reading: Callable[[], bool]
    ) -> None:
        self.name = name
        self.llm = llm
        self.metrics = metrics
        self._media = MediaRenderer(llm)
        self._is_reading = is_reading
        self._processes: tuple[int, ...] = ()
        self.compiling_s = 0.0
        self._prefills: dict[str, tuple[int, int]] = {}

    async def generate(
        self, prompt: TokensPrompt, params: SamplingParams, request_id: str
    ) -> AsyncGenerator[RequestOutput]:
        """Outputs of one request. Closing the generator aborts the request.

        Raises InvalidRequest if the prompt fills the whole context. Media are prepared in another thread.
        """
        # A prompt of token ids alone needs no thread, and no task of its own for each of vLLM's steps.
        if prompt.get("multi_modal_data"):
            rendered = await self._media.render(prompt)
        else:
            (rendered,) = self.llm.renderer.render_cmpl([prompt])
        # It may hold gigabytes of samples and frames.
        del prompt
        features, answered = Features.of(rendered), False
        try:
            check_context(len(rendered.get("prompt_token_ids", ())), self.llm.model_config.max_model_len)
            async with aclosing(self.llm.generate(rendered, params, request_id)) as outputs:
                async for output in outputs:
                    if not answered:
                        answered = True
                        self._check_kept(features, output)
                    yield output
        except (asyncio.CancelledError, GeneratorExit):
            # vLLM aborts by itself, except while the request is still on its way to the engine.
            await self.llm.abort(request_id)
            raise
        except Exception:
            if not answered:
                self._media.forget(features)
            raise

    def _check_kept(self, features: Features, first: RequestOutput) -> None:
        """Raises RequestFailed if the engine has ended the request for features that it has not kept."""
        ended = any(choice.finish_reason == "error" for choice in first.outputs)
        if ended and self._media.has_lost(features):
            raise RequestFailed("the engine no longer has the features of its media")

    async def run_session(
        self, inputs: AsyncGenerator[StreamingInput], params: SamplingParams, request_id: str
    ) -> AsyncGenerator[RequestOutput]:
        """Outputs of one streaming session, whose inputs extend one sequence one after the other.

        Closing the generator aborts the session. After that `inputs` must neither yield nor end: vLLM would
        take either for a new request. `params` are those of the request with which vLLM ends the session.
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
        return not self.llm.errored and self._is_reading()

    async def ping(self) -> None:
        """Returns when the engine has answered, which it does between two steps."""
        reports = await self.llm.collective_rpc(REPORT)
        self._processes = tuple(process for process, _, _ in reports)
        self.compiling_s = max((seconds for _, seconds, _ in reports), default=0.0)
        self._prefills = {name: tokens for _, _, prompts in reports for name, tokens in prompts.items()}

    def prefill_of(self, request_id: str) -> tuple[int, int] | None:
        """Computed and all tokens of the request's prompt at the last ping; None if it is not being read."""
        # vLLM's own id of a request is ours with more words after it.
        found = (tokens for name, tokens in self._prefills.items() if f"{request_id}-" in f"{name}-")
        return next(found, None)

    def used_cpu_s(self) -> float:
        """CPU seconds of the engine's processes. 0 on a GPU, where steps are short."""
        return cpu_time_s(self._processes) if current_platform.is_cpu() else 0.0

    async def end(self) -> None:
        """Ends the engine's processes. vLLM waits for them in another thread and kills what remains."""
        await asyncio.to_thread(self.llm.shutdown)

    @property
    def running(self) -> int:
        return self.llm.output_processor.get_num_unfinished_requests()


def check_context(prompt_tokens: int, context_tokens: int) -> None:
    """Raises InvalidRequest if the prompt, with its media expanded, fills the context."""
    if prompt_tokens >= context_tokens:
        raise InvalidRequest(
            f"the prompt has {prompt_tokens} tokens with its media; the model's context is {context_tokens} "
            "tokens",
            "messages",
            "context_length_exceeded",
        )


def current_generate(stage: SupervisedStage[Stage]) -> Generate:
    """`Stage.generate` of the engine that is running at the time of the call."""

    def generate(
        prompt: TokensPrompt, params: SamplingParams, request_id: str
    ) -> AsyncGenerator[RequestOutput]:
        return stage.engine.generate(prompt, params, request_id)

    return generate


def current_prefill(stage: SupervisedStage[Stage]) -> Callable[[str], tuple[int, int] | None]:
    """`Stage.prefill_of` of the engine that is running at the time of the call."""
    return lambda request_id: stage.engine.prefill_of(request_id) if stage.alive else None


def current_run_session(stage: SupervisedStage[Stage]) -> RunSession:
    """`Stage.run_session` of the engine that is running at the time of the call."""

    def run_session(
        inputs: AsyncGenerator[StreamingInput], params: SamplingParams, request_id: str
    ) -> AsyncGenerator[RequestOutput]:
        return stage.engine.run_session(inputs, params, request_id)

    return run_session


class _Loading:
    """An engine that loads in a thread. Loading cannot be interrupted.

    If the caller has abandoned it, the engine is shut down as soon as it has loaded.
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
        """Returns the engine if it has already loaded; the caller must shut it down."""
        with self._lock:
            self._abandoned = True
            return self._loaded


async def start_stage(
    name: str,
    arguments: AsyncEngineArgs,
    progress: Progress,
    is_reading: Callable[[], bool] = lambda: True,
) -> Stage:
    """Loads an engine. If cancelled, it returns at once and the engine is shut down when it has loaded."""
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
    stage = Stage(name, llm, metrics, is_reading)
    # The answer contains the process ids, whose CPU time is read when a later ping is not answered.
    try:
        async with asyncio.timeout(_FIRST_ANSWER_S):
            await stage.ping()
    except TimeoutError:
        await stage.end()
        raise RuntimeError(f"the {name} engine has loaded but does not answer") from None
    except BaseException:
        await stage.end()
        raise
    return stage
