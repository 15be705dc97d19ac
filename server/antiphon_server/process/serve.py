"""`antiphon serve` after its checks: the engine, the application and their orderly end, as an exit code.

The engine is always closed and the process always ends: every wait here has a deadline.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import uvloop

from antiphon_executor.interface.engine import OmniEngine
from antiphon_executor.interface.errors import OperatorError
from antiphon_executor.interface.settings import EngineSettings
from antiphon_server.chat.schema.cost_estimator import SchemaCostEstimator
from antiphon_server.chat.service import Service
from antiphon_server.config.settings import Settings
from antiphon_server.exits import FORCED_EXIT_S, ExitCode, StartupError, force_exit_after, print_error
from antiphon_server.files.store import FileStore
from antiphon_server.http.app import create_app
from antiphon_server.http.descriptors import raise_limit
from antiphon_server.http.lifecycle import Lifecycle
from antiphon_server.http.routes.models import served_name
from antiphon_server.media.loader import MediaLoader
from antiphon_server.observability import logging as logs
from antiphon_server.observability.metrics import ServerMetrics
from antiphon_server.process.assembly import (
    first_line,
    make_service,
    make_spans,
    open_keys,
    read_prompts,
    start_files,
    start_media,
)
from antiphon_server.process.banner import banner
from antiphon_server.process.console import Console
from antiphon_server.process.lifecycle_tasks import (
    delete_expired_files,
    drain,
    probe_loop_lag,
    watch_engine,
    watch_keys,
)
from antiphon_server.process.loading_progress import LoadingProgress, loading_progress
from antiphon_server.process.memory import freeze_startup_objects, without_collection
from antiphon_server.process.output_capture import OutputCapture
from antiphon_server.process.uvicorn_server import HttpServer, SwitchableApp, loading_app
from antiphon_server.process.waits import wait_at_most, wait_for_first
from antiphon_server.realtime.client_secrets import ClientSecrets
from antiphon_server.version import VERSION

if TYPE_CHECKING:
    from antiphon_server.observability.spans import RequestSpans

StartEngine = Callable[[EngineSettings, Callable[[str], None]], Awaitable[OmniEngine]]

# Libraries log much while they load. An operator who sets one of these variables keeps that output.
_QUIET_VARIABLES = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TRANSFORMERS_VERBOSITY": "error",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "PYTHONWARNINGS": "ignore::FutureWarning",
}
_CLOSE_S = 10.0
_DEAD_EXIT_S = 5.0

_log = logging.getLogger("antiphon.serve")


async def start_real_engine(settings: EngineSettings, progress: Callable[[str], None]) -> OmniEngine:
    """Start the engine on vLLM. The import takes seconds and runs in a thread."""
    for variable, level in _QUIET_VARIABLES.items():
        os.environ.setdefault(variable, level)
    progress("importing the engine")
    with without_collection():
        engine = await asyncio.to_thread(importlib.import_module, "antiphon_executor.engine.omni_engine")
    return await engine.start_engine(settings, progress)


def run(settings: Settings, sock: socket.socket, start_engine: StartEngine = start_real_engine) -> ExitCode:
    """Serve on a listening socket until a signal or a fault ends it."""
    raise_limit()
    capture = OutputCapture(settings.logs)
    console = capture.start()
    progress = loading_progress(settings.logs, console.err)
    log = logs.configure(settings.logs, progress.log_stream)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(ServerRun(settings, sock, start_engine, console, capture, progress).run())
    except BaseException:
        capture.restore()
        raise
    finally:
        capture.close()
        log.flush()


class ServerRun:
    """One run of the server, from loading to its exit code."""

    def __init__(
        self,
        settings: Settings,
        sock: socket.socket,
        start_engine: StartEngine,
        console: Console,
        capture: OutputCapture,
        progress: LoadingProgress,
    ) -> None:
        self._settings = settings
        self._sock = sock
        self._port: int = sock.getsockname()[1]
        self._start_engine = start_engine
        self._console = console
        self._capture = capture
        self._progress = progress
        self._life = Lifecycle("loading")
        self._metrics = ServerMetrics(VERSION)
        self._client_secrets = ClientSecrets.from_file(settings.realtime.signing_key_file)
        self._spans: RequestSpans | None = None
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()

    async def run(self) -> ExitCode:
        try:
            return await self._run()
        except StartupError as error:
            force_exit_after(FORCED_EXIT_S, error.code)
            return print_error(error, self._console.err)

    async def _run(self) -> ExitCode:
        self._listen_to_signals()
        server, client_secrets = self._settings.server, self._client_secrets
        keys = open_keys(server)
        app = SwitchableApp(loading_app(server, self._metrics, self._life, client_secrets, keys))
        http = HttpServer(app, self._settings.server, self._settings.realtime)
        http_task = http.start(self._sock)
        media = MediaLoader(self._settings.media)
        files = FileStore(self._settings.files)
        grammars = SchemaCostEstimator(self._settings.engine.model, self._settings.chat.grammar)
        engine: OmniEngine | None = None
        try:
            # These take a second, the model minutes: their errors come first.
            prompts = await read_prompts(self._settings.engine.model, self._settings.chat.prompt)
            await start_media(media)
            start_files(files, self._settings)
            await grammars.start()
            engine = await self._load()
            if engine is None:
                code = ExitCode.OK
            else:
                self._spans = make_spans(self._settings.traces)
                service = make_service(
                    self._settings,
                    engine,
                    prompts,
                    grammars,
                    media,
                    files,
                    self._metrics,
                    keys,
                    self._spans,
                )
                code = await self._serve(service, app, http_task)
            # An import, an engine's thread or its `close` may block. The process ends all the same.
            force_exit_after(_DEAD_EXIT_S if code is ExitCode.ENGINE_DIED else FORCED_EXIT_S, code)
            return code
        finally:
            http.stop()
            await wait_at_most(_CLOSE_S, http_task)
            await wait_at_most(_CLOSE_S, media.close())
            await wait_at_most(_CLOSE_S, grammars.close())
            files.close()
            await wait_at_most(_CLOSE_S, asyncio.to_thread(self._close_spans))
            if engine is not None:
                await wait_at_most(_CLOSE_S, engine.close())

    def _close_spans(self) -> None:
        """Send the last spans."""
        if self._spans is not None:
            self._spans.close()

    def _listen_to_signals(self) -> None:
        def stop() -> None:
            (self._stop_now if self._stop.is_set() else self._stop).set()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop)

    async def _load(self) -> OmniEngine | None:
        """The engine, or None if a signal came first."""
        if self._stop.is_set():
            return None
        with self._progress as progress:
            progress(f"Antiphon {VERSION}: loading {self._settings.engine.model}")
            loading = asyncio.ensure_future(self._start_engine(self._settings.engine, progress))
            await wait_for_first(loading, self._stop.wait())
        if not loading.done():
            loading.cancel()
            await wait_at_most(_CLOSE_S, loading)
            return None
        try:
            return loading.result()
        except OperatorError as error:
            raise StartupError(ExitCode.BAD_CONFIG, str(error)) from None
        except Exception as error:
            _log.debug("the engine did not start", exc_info=True)
            # vLLM's own error only points to the output of the engine's process.
            cause = self._capture.startup_error() if "root cause" in str(error) else None
            raise StartupError(
                ExitCode.ENGINE_FAILED,
                f"the engine did not start: {cause or first_line(error)}",
                "'antiphon doctor' checks this machine",
            ) from None

    async def _serve(self, service: Service, app: SwitchableApp, http: asyncio.Task[None]) -> ExitCode:
        api = create_app(service, self._life, self._client_secrets)
        # Made now: on the first request it would block the event loop for 0.1 s.
        api.openapi()
        freeze_startup_objects()
        app.app = api
        self._capture.begin_serving()
        self._life.stage = "serving"
        card, name = service.engine.card, served_name(service)
        thinking = service.prompts.template.thinking_switch
        text = banner(self._settings.server, card, name, VERSION, self._port, thinking)
        print(text, file=self._console.out, flush=True)
        return await self._wait_for_end(service, http)

    async def _wait_for_end(self, service: Service, http: asyncio.Task[None]) -> ExitCode:
        watch = asyncio.create_task(watch_engine(service.engine, self._life, service.admission), name="watch")
        chores = [
            asyncio.create_task(probe_loop_lag(self._metrics), name="probe"),
            asyncio.create_task(delete_expired_files(service.files), name="expiry"),
            asyncio.create_task(watch_keys(service.keys), name="keys"),
        ]
        try:
            await wait_for_first(watch, http, self._stop.wait())
            if watch.done():
                return self._engine_died(watch)
            if http.done():
                return _http_stopped(http)
            draining = asyncio.create_task(
                drain(self._life, service.admission, self._settings.server.timeouts), name="drain"
            )
            await wait_for_first(draining, watch, http, self._stop_now.wait())
            if watch.done():
                return self._engine_died(watch)
            if http.done():
                draining.cancel()
                return _http_stopped(http)
            finished = draining.done() and draining.result()
            draining.cancel()
            return ExitCode.OK if finished or not service.admission.requests else ExitCode.UNFINISHED
        finally:
            watch.cancel()
            for chore in chores:
                chore.cancel()

    def _engine_died(self, watch: asyncio.Task[None]) -> ExitCode:
        if error := watch.exception():
            _log.error("the engine's status cannot be read", exc_info=error)
            self._life.fail(("model",))
        return ExitCode.ENGINE_DIED


def _http_stopped(http: asyncio.Task[None]) -> ExitCode:
    """Without the HTTP server no client can reach the process, so it ends."""
    error = None if http.cancelled() else http.exception()
    _log.error("the HTTP server has stopped", exc_info=error)
    return ExitCode.FAULT
