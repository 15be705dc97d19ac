"""The parts of a server, made from the settings and a started engine."""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from antiphon_executor.interface.card import ModelCard
from antiphon_executor.interface.engine import OmniEngine
from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.chat.prompt.renderer import PromptRenderer
from antiphon_server.chat.schema.cost_estimator import SchemaCostEstimator
from antiphon_server.chat.service import Service
from antiphon_server.chat.transcripts import Transcripts
from antiphon_server.config.chat import PromptPolicy
from antiphon_server.config.settings import ServerSettings, Settings, TraceSettings
from antiphon_server.errors import ApiError
from antiphon_server.exits import ExitCode, StartupError
from antiphon_server.files.store import FileStore
from antiphon_server.keys.key_ring import KeyRing
from antiphon_server.keys.key_table import KeyFileError
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.sandbox.pool import SandboxTooWeak
from antiphon_server.observability.admission_log import AdmissionLog
from antiphon_server.observability.metrics import ServerMetrics

if TYPE_CHECKING:
    from antiphon_server.observability.spans import RequestSpans

_log = logging.getLogger("antiphon.serve")


async def read_prompts(model: Path, policy: PromptPolicy) -> PromptRenderer:
    """The tokenizer and the chat template of a checkpoint. Raises `StartupError`."""
    try:
        return await asyncio.to_thread(PromptRenderer.from_folder, model, policy)
    # The tokenizers library raises nothing narrower.
    except Exception as error:
        message = f"the checkpoint's tokenizer or chat template cannot be used: {first_line(error)}"
        raise StartupError(ExitCode.NOT_A_CHECKPOINT, message) from None


async def start_media(media: MediaLoader) -> None:
    """Raises `StartupError` if the decoders cannot be confined or do not start."""
    try:
        await media.start()
    except SandboxTooWeak as error:
        raise StartupError(ExitCode.WEAK_SANDBOX, str(error), error.hint) from None
    except ApiError as error:
        raise StartupError(ExitCode.FAULT, f"the media decoders did not start: {error.message}") from None


def open_keys(server: ServerSettings) -> KeyRing:
    """The API keys of the settings and of their file. Raises `StartupError`."""
    try:
        return KeyRing((key.get_secret_value() for key in server.api_keys), server.api_key_file)
    except KeyFileError as error:
        raise StartupError(ExitCode.BAD_CONFIG, str(error)) from None


def make_spans(settings: TraceSettings) -> RequestSpans | None:
    """None without a collector. OpenTelemetry is imported only for one."""
    if not settings.endpoint:
        return None
    from antiphon_server.observability.spans import RequestSpans

    return RequestSpans(settings)


def start_files(files: FileStore, settings: Settings) -> None:
    """Opens the folder of uploaded files. Raises `StartupError` if the operator's own cannot be used.

    Without one, the default folder may be unusable (a read-only system): then uploads are refused.
    """
    policy, port = settings.files, settings.server.port
    if not policy.key_files:
        return
    try:
        files.start(policy.folder or _default_folder(port))
    except OSError as error:
        reason = f"the folder of uploaded files cannot be used: {error.strerror}"
        if policy.folder is not None:
            hint = "--files.folder names a folder that this server alone writes to"
            raise StartupError(ExitCode.BAD_CONFIG, reason, hint) from None
        _log.warning("uploads are refused: %s; --files.folder names another", reason)


def _default_folder(port: int) -> Path | None:
    """Kept for the next server on this port; none if the port is random."""
    if not port:
        return None
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "antiphon" / f"files-{port}"


def make_service(
    settings: Settings,
    engine: OmniEngine,
    prompts: PromptRenderer,
    grammars: SchemaCostEstimator,
    media: MediaLoader,
    files: FileStore,
    metrics: ServerMetrics,
    keys: KeyRing,
    spans: RequestSpans | None = None,
) -> Service:
    """The service behind the routes, with admission fitted to the engine."""
    capacity = admission_capacity(settings, engine.card)
    audit = AdmissionLog(keys) if settings.logs.admissions else None
    admission = AdmissionController(capacity, lambda: engine.status().frame_time, classes=keys, audit=audit)
    media.set_geometry(engine.card.media, engine.card.context_tokens)
    media.set_clip_writer(partial(engine.clip_writer, folder=media.policy.frames_folder))
    media.remember_files(engine.card.kept_audio_s)
    metrics.watch_load(lambda: admission.load)
    metrics.watch_engine(engine.status)
    metrics.watch_files(files)
    transcripts = Transcripts(settings.chat)
    return Service(
        settings, engine, prompts, grammars, media, files, admission, metrics, transcripts, keys, spans
    )


def admission_capacity(settings: Settings, card: ModelCard) -> Capacity:
    """The limits of the admission controller: what the engines run at once, and a bounded queue."""
    engine, limits = settings.engine, settings.server.limits
    return Capacity(
        sequences=engine.thinker.max_num_seqs,
        streams=engine.talker.streams if card.speaks else 0,
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
        engines=card.capacity,
    )


def first_line(error: Exception) -> str:
    """The first line of the error's message, or its type's name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
