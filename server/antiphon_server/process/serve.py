"""`antiphon serve`: checks, socket, engine, application, and the orderly end of all four.

In: the settings and how to start an engine. Out: an exit code.
Whatever happens, the engine is closed and the process ends: every wait here has a deadline.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import uvloop

from antiphon_executor.interface.capacity import EngineCapacity
from antiphon_executor.interface.engine import OmniEngine
from antiphon_executor.interface.errors import OperatorError
from antiphon_executor.interface.settings import EngineSettings
from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.chat.prompt.renderer import PromptRenderer
from antiphon_server.chat.schema.cost_estimator import SchemaCostEstimator
from antiphon_server.chat.service import Service
from antiphon_server.chat.transcripts import Transcripts
from antiphon_server.config.settings import Settings
from antiphon_server.errors import ApiError
from antiphon_server.exits import ExitCode, StartupError, force_exit_after, print_error
from antiphon_server.http.app import create_app
from antiphon_server.http.descriptors import raise_limit
from antiphon_server.http.lifecycle import Lifecycle, drain, probe_loop_lag, watch_engine
from antiphon_server.http.routes.models import served_name
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.sandbox.pool import SandboxTooWeak
from antiphon_server.observability import logging as logs
from antiphon_server.observability.metrics import ServerMetrics
from antiphon_server.process.banner import Progress, banner, logged_steps, printed_steps
from antiphon_server.process.console import Console
from antiphon_server.process.memory import freeze_startup_objects
from antiphon_server.process.output_capture import OutputCapture
from antiphon_server.process.uvicorn_server import Front, HttpServer, loading_app
from antiphon_server.version import VERSION

StartEngine = Callable[[EngineSettings, Callable[[str], None]], Awaitable[OmniEngine]]

# The libraries tell their own story while they load; who wants to read it sets the variable.
_QUIET = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TRANSFORMERS_VERBOSITY": "error",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "PYTHONWARNINGS": "ignore::FutureWarning",
}
_CLOSE_S = 10.0
_WAY_OUT_S = 20.0
_DEAD_WAY_OUT_S = 5.0

_log = logging.getLogger("antiphon.serve")


async def start_real_engine(settings: EngineSettings, progress: Callable[[str], None]) -> OmniEngine:
    """The engine on vLLM. Importing it takes seconds, so that is done beside the event loop."""
    for variable, level in _QUIET.items():
        os.environ.setdefault(variable, level)
    progress("importing the engine")
    engine = await asyncio.to_thread(importlib.import_module, "antiphon_executor.engine.omni_engine")
    return await engine.start_engine(settings, progress)


def run(settings: Settings, sock: socket.socket, start_engine: StartEngine = start_real_engine) -> ExitCode:
    """Serve on a listening socket until told to stop. A process that then will not end is ended."""
    raise_limit()
    foreign = OutputCapture(settings.logs)
    console = foreign.start()
    log = logs.configure(settings.logs, console.err)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(Serving(settings, sock, start_engine, console, foreign).run())
    except BaseException:
        foreign.restore()
        raise
    finally:
        foreign.close()
        log.flush()


class Serving:
    """One run of the server."""

    def __init__(
        self,
        settings: Settings,
        sock: socket.socket,
        start_engine: StartEngine,
        console: Console,
        foreign: OutputCapture,
    ) -> None:
        self._settings = settings
        self._sock = sock
        self._port: int = sock.getsockname()[1]
        self._start_engine = start_engine
        self._console = console
        self._foreign = foreign
        plain = logs.is_plain(settings.logs, console.err)
        self._progress = Progress(printed_steps(console.err) if plain else logged_steps)
        self._life = Lifecycle("loading")
        self._metrics = ServerMetrics(VERSION)
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()

    async def run(self) -> ExitCode:
        try:
            return await self._run()
        except StartupError as error:
            force_exit_after(_WAY_OUT_S, error.code)
            return print_error(error, self._console.err)

    async def _run(self) -> ExitCode:
        self._listen_to_signals()
        front = Front(loading_app(self._settings.server, self._metrics, self._life))
        http = HttpServer(front, self._settings.server)
        http_task = http.start(self._sock)
        media = MediaLoader(self._settings.media)
        grammars = SchemaCostEstimator(self._settings.engine.model, self._settings.chat.grammar)
        engine: OmniEngine | None = None
        try:
            # Before the model, which takes its time: what is wrong with these is known in a second.
            prompts = await self._read_prompts()
            await _start(media)
            await grammars.start()
            engine = await self._load()
            if engine is None:
                code = ExitCode.OK
            else:
                code = await self._serve(self._assemble(engine, prompts, grammars, media), front, http_task)
            # An import, an engine's thread or its `close` may block: from here on nothing holds up the end.
            force_exit_after(_DEAD_WAY_OUT_S if code is ExitCode.ENGINE_DIED else _WAY_OUT_S, code)
            return code
        finally:
            http.stop()
            await _within(http_task, _CLOSE_S)
            await _within(media.close(), _CLOSE_S)
            await _within(grammars.close(), _CLOSE_S)
            if engine is not None:
                await _within(engine.close(), _CLOSE_S)

    def _listen_to_signals(self) -> None:
        def stop() -> None:
            (self._stop_now if self._stop.is_set() else self._stop).set()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop)

    async def _load(self) -> OmniEngine | None:
        """The engine, or None when the operator has stopped waiting for it."""
        if self._stop.is_set():
            return None
        self._progress(f"Antiphon {VERSION}: loading {self._settings.engine.model}")
        start = self._start_engine(self._settings.engine, self._progress)
        loading = asyncio.ensure_future(start)
        await _first(loading, self._stop.wait())
        if not loading.done():
            loading.cancel()
            await _within(loading, _CLOSE_S)
            return None
        try:
            return loading.result()
        except OperatorError as error:
            raise StartupError(ExitCode.BAD_CONFIG, str(error)) from None
        except Exception as error:
            _log.debug("the engine did not start", exc_info=True)
            # vLLM's own error only points to what the engine's process has written.
            cause = self._foreign.cause() if "root cause" in str(error) else None
            raise StartupError(
                ExitCode.ENGINE_FAILED,
                f"the engine did not start: {cause or _first_line(error)}",
                "'antiphon doctor' checks this machine",
            ) from None

    async def _read_prompts(self) -> PromptRenderer:
        try:
            return await asyncio.to_thread(PromptRenderer.from_folder, self._settings.engine.model)
        # The files are somebody else's, and the tokenizers library raises nothing narrower.
        except Exception as error:
            message = f"the checkpoint's tokenizer or chat template cannot be used: {_first_line(error)}"
            raise StartupError(ExitCode.NOT_A_CHECKPOINT, message) from None

    def _assemble(
        self, engine: OmniEngine, prompts: PromptRenderer, grammars: SchemaCostEstimator, media: MediaLoader
    ) -> Service:
        settings = self._settings
        admission = AdmissionController(
            admission_capacity(settings, engine.card.capacity), lambda: engine.status().frame_time
        )
        media.set_geometry(engine.card.media)
        self._metrics.watch_load(lambda: admission.load)
        self._metrics.watch_engine(engine.status)
        transcripts = Transcripts(settings.chat)
        return Service(settings, engine, prompts, grammars, media, admission, self._metrics, transcripts)

    async def _serve(self, service: Service, front: Front, http: asyncio.Task[None]) -> ExitCode:
        app = create_app(service, self._life)
        # Made on the first request it would hold the event loop for a tenth of a second.
        app.openapi()
        freeze_startup_objects()
        front.app = app
        self._foreign.begin_serving()
        self._life.stage = "serving"
        card, name = service.engine.card, served_name(service)
        said = banner(self._settings.server, card, name, VERSION, self._port)
        print(said, file=self._console.out, flush=True)
        return await self._until_the_end(service, http)

    async def _until_the_end(self, service: Service, http: asyncio.Task[None]) -> ExitCode:
        watch = asyncio.create_task(watch_engine(service.engine, self._life, service.admission), name="watch")
        probe = asyncio.create_task(probe_loop_lag(self._metrics), name="probe")
        try:
            await _first(watch, http, self._stop.wait())
            if watch.done():
                return self._died(watch)
            if http.done():
                return _no_longer_reached(http)
            draining = asyncio.create_task(
                drain(self._life, service.admission, self._settings.server.timeouts), name="drain"
            )
            await _first(draining, watch, http, self._stop_now.wait())
            if watch.done():
                return self._died(watch)
            if http.done():
                draining.cancel()
                return _no_longer_reached(http)
            finished = draining.done() and draining.result()
            draining.cancel()
            return ExitCode.OK if finished or not service.admission.requests else ExitCode.UNFINISHED
        finally:
            watch.cancel()
            probe.cancel()

    def _died(self, watch: asyncio.Task[None]) -> ExitCode:
        if error := watch.exception():
            _log.error("the engine's status cannot be read", exc_info=error)
            self._life.fail(("model",))
        return ExitCode.ENGINE_DIED


def _no_longer_reached(http: asyncio.Task[None]) -> ExitCode:
    """Without its HTTP server no client reaches the process, and no answer can end."""
    error = None if http.cancelled() else http.exception()
    _log.error("the HTTP server has stopped", exc_info=error)
    return ExitCode.FAULT


def admission_capacity(settings: Settings, engines: EngineCapacity) -> Capacity:
    """The limits of the admission controller: what the engines run at once, and a bounded queue."""
    engine, limits = settings.engine, settings.server.limits
    return Capacity(
        sequences=engine.thinker.max_num_seqs,
        streams=engine.talker.streams if engine.speech else 0,
        queued_requests=limits.queued_turns,
        queued_media_seconds=limits.queued_media_seconds,
        queue_s=settings.server.timeouts.queue_s,
        media_bytes=limits.media_bytes,
        requests_per_key=limits.turns_per_key,
        queued_prompt_tokens=limits.queued_prompt_tokens,
        prefill_s=limits.prefill_s,
        answer_tokens=limits.answer_tokens,
        speech_s=limits.answer_speech_s,
        real_time=limits.real_time,
        tokens_per_minute=limits.tokens_per_minute,
        audio_seconds_per_minute=limits.audio_seconds_per_minute,
        engines=engines,
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


async def _start(media: MediaLoader) -> None:
    try:
        await media.start()
    except SandboxTooWeak as error:
        raise StartupError(ExitCode.WEAK_SANDBOX, str(error), error.hint) from None
    except ApiError as error:
        raise StartupError(ExitCode.FAULT, f"the media decoders did not start: {error.message}") from None


async def _first(*waits: asyncio.Future[Any] | Coroutine[Any, Any, Any]) -> None:
    """Return when one of them is done. Waits that were given as coroutines end here; tasks go on."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for wait, task in zip(waits, tasks, strict=True):
        if wait is not task:
            task.cancel()


async def _within(wait: Awaitable[Any], limit_s: float) -> None:
    """Wait, but not for ever, and not for its errors: this is the way out."""
    try:
        async with asyncio.timeout(limit_s):
            await wait
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
    except TimeoutError:
        _log.warning("a part did not stop in time")
    except Exception:
        _log.exception("a part did not stop cleanly")
