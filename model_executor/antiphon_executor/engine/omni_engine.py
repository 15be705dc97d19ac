"""The omni engine on vLLM: starts both stages, supervises them, and runs requests through them.

If a stage dies, its requests fail. How one request runs is in `turn.request_run`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

from prometheus_client.metrics_core import Metric
from transformers import PreTrainedConfig
from vllm.exceptions import VLLMClientError
from vllm.plugins import load_general_plugins
from vllm.transformers_utils.processor import cached_processor_from_config
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from antiphon_executor.checkpoint.family import read_config
from antiphon_executor.checkpoint.model_card import model_card, text_ends
from antiphon_executor.checkpoint.processor_geometry import media_geometry_of
from antiphon_executor.checkpoint.voices import list_voices
from antiphon_executor.engine.clip_read_ahead import ClipReadAhead
from antiphon_executor.engine.determinism import without_cache_keys
from antiphon_executor.engine.effective_settings import checked_settings
from antiphon_executor.engine.launch import Launcher, engine_surroundings, stage_specs
from antiphon_executor.engine.measured_capacity import engine_capacity
from antiphon_executor.engine.talker_factory import make_talker, reads_user_text
from antiphon_executor.engine.video_read_ahead import VideoReadAhead
from antiphon_executor.engine.window_read_ahead import PromptReader
from antiphon_executor.interface.card import MemoryItem, ModelCard, Voice
from antiphon_executor.interface.errors import EngineDead, InvalidRequest
from antiphon_executor.interface.event_stream import EventStream
from antiphon_executor.interface.media import VideoClip
from antiphon_executor.interface.request import OmniRequest, ReadingRequest, SpeechSampling
from antiphon_executor.interface.settings import EngineSettings
from antiphon_executor.interface.spoken_length import UnlearnedPaces, VoicePaces
from antiphon_executor.interface.status import EngineStatus
from antiphon_executor.ipc.bridge import Bridge
from antiphon_executor.ipc.parent_watchdog import adopt_children
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.models.talker.prompt_embeddings import pages_for
from antiphon_executor.models.thinker.mel_writer import MelWriter, kept_audio_s
from antiphon_executor.models.thinker.window_length import BLOCK_S, window_frames
from antiphon_executor.stages.compilation import could_be_compiled
from antiphon_executor.stages.restart_policy import RestartPolicy
from antiphon_executor.stages.stage import Progress, Stage, current_generate, current_prefill
from antiphon_executor.stages.supervisor import SupervisedStage, WatchRules, end_all
from antiphon_executor.turn.reading_run import ReadingRun
from antiphon_executor.turn.request_context import RequestContext
from antiphon_executor.turn.request_errors import client_error, own_error, reading_error
from antiphon_executor.turn.request_run import RequestRun
from antiphon_executor.turn.slots import SlotTracker
from antiphon_executor.turn.talker_session import Talker

_log = logging.getLogger("antiphon.engine")


async def start_engine(settings: EngineSettings, progress: Progress) -> VllmOmniEngine:
    """Loads the checkpoint into both engines. Raises `VoiceError`, or vLLM's error if an engine fails."""
    adopt_children()
    load_general_plugins()
    config = read_config(settings.model)
    settings = await checked_settings(settings, config, progress)
    voices = list_voices(settings.model, config, settings.voices) if settings.speech else ()
    async with AsyncExitStack() as stack:
        folder, bridge = await stack.enter_async_context(engine_surroundings(settings))
        launcher, specs = Launcher(progress, bridge), stage_specs(settings, config, folder)
        stages = await launcher.start_all(specs)
        restarts = {spec.name: partial(launcher.start, spec) for spec in specs}
        try:
            engine = VllmOmniEngine(settings, config, voices, stages, restarts, bridge)
        except BaseException:
            await end_all(stages)
            raise
        engine.start_supervision(stack.pop_all())
        return engine
    raise AssertionError("unreachable")


class VllmOmniEngine:
    """An `OmniEngine` on vLLM. It owns its stages from `start_supervision` until `close`."""

    def __init__(
        self,
        settings: EngineSettings,
        config: PreTrainedConfig,
        voices: tuple[Voice, ...],
        stages: list[Stage],
        restarts: Mapping[str, Callable[[], Awaitable[Stage]]],
        bridge: Bridge,
    ) -> None:
        rules = WatchRules(RestartPolicy(settings.restarts), settings.hang_s, settings.stuck_s)
        self._stages = {
            stage.name: SupervisedStage(stage.name, stage, restarts[stage.name], rules, self._on_death)
            for stage in stages
        }
        self._owned = AsyncExitStack()
        thinker = self._stages["thinker"]
        talker = self._stages.get("talker")
        limits = settings.talker
        memory = memory_items(settings.model, stages)
        capacity = engine_capacity(settings, config, {one.name: one.llm.vllm_config for one in stages})
        model, tokenizer = thinker.engine.llm.model_config, thinker.engine.llm.get_tokenizer()
        media = media_geometry_of(
            config,
            cached_processor_from_config(model, tokenizer=tokenizer),
            partial(tokenizer.encode, add_special_tokens=False),
        )
        card = model_card(settings, config, voices, model, memory, capacity, media)
        self._mel_bins: int = config.thinker_config.audio_config.num_mel_bins
        self._thinker_dtype = model.dtype
        self._card = replace(
            card,
            could_be_compiled=could_be_compiled(settings),
            kept_audio_s=kept_audio_s(model, self._mel_bins),
            reads_ahead=settings.thinker.enable_prefix_caching and not settings.deterministic,
        )
        self._vocabulary: int = model.get_vocab_size()
        self._context_tokens: int = model.max_model_len
        self._slots = SlotTracker(limits.streams if talker else 0, pages_for(limits.media_rows))
        generate = current_generate(thinker)
        self._context = RequestContext(
            generate_text=without_cache_keys(generate) if settings.deterministic else generate,
            prefill_of=current_prefill(thinker),
            decode=partial(tokenizer.decode, skip_special_tokens=True),
            ids=PromptIds.of(config),
            media=media,
            thinker_eos=text_ends(settings.model, config),
            talker=make_talker(settings, config, talker, bridge, self._slots) if talker else None,
            bridge=bridge,
            slots=self._slots,
            guard=None if self._card.random_weights else limits.guard,
            waits=settings.waits,
            pacing=limits.pace,
            reads_user_text=reads_user_text(config),
            voice_paces=UnlearnedPaces() if settings.deterministic else VoicePaces(),
            encode=partial(thinker.engine.llm.get_tokenizer().encode, add_special_tokens=False),
        )
        self._bridge = bridge
        self._running: dict[str, RequestRun | ReadingRun] = {}
        self._supervising: list[asyncio.Task[None]] = []

    def start_supervision(self, owned: AsyncExitStack) -> None:
        """Starts one supervision task per stage. `close` ends them and everything in `owned`."""
        self._owned = owned
        self._supervising = [
            asyncio.create_task(stage.supervise(), name=f"supervise-{stage.name}")
            for stage in self._stages.values()
        ]

    @property
    def card(self) -> ModelCard:
        return self._card

    def generate(self, request: OmniRequest) -> EventStream:
        """See `OmniEngine.generate`."""
        return EventStream(partial(self._produce, request))

    def read_aloud(self, request: ReadingRequest) -> EventStream:
        """See `OmniEngine.read_aloud`."""
        return EventStream(partial(self._produce_reading, request))

    async def _produce(self, request: OmniRequest, events: EventStream) -> None:
        """Runs a request. Every error that a client can cause is raised as an `EngineError`."""
        self._check_stages(("thinker",) if request.speech is None else ("thinker", "talker"))
        if request.speech is not None:
            self._check_speech(request.speech)
            if request.text.choices != 1:
                raise InvalidRequest("n must be 1 with audio", "n")
        run = RequestRun(self._context, request)
        request = request.without_media()
        try:
            await self._run(run, events)
        except VLLMClientError as error:
            raise client_error(error, request, self._vocabulary, self._context_tokens) from error

    async def _produce_reading(self, request: ReadingRequest, events: EventStream) -> None:
        self._check_stages(("talker",))
        talker = self._check_speech(request.speech)
        try:
            await self._run(ReadingRun(self._context, talker, request), events)
        except VLLMClientError as error:
            raise reading_error(error) from error

    async def _run(self, run: RequestRun | ReadingRun, events: EventStream) -> None:
        self._running[run.request_id] = run
        try:
            await run.run(events)
        except VLLMClientError as error:
            fields = {"error": type(error).__name__, "parameter": getattr(error, "parameter", None)}
            _log.info("vLLM rejected a request", extra={"fields": fields})
            raise
        except (EngineDeadError, EngineGenerateError) as error:
            dead = self._dead_stage()
            if dead is None:
                raise own_error(error) from error
            raise dead.death from error
        finally:
            self._running.pop(run.request_id, None)

    def _dead_stage(self) -> SupervisedStage[Stage] | None:
        return next((stage for stage in self._stages.values() if not stage.alive), None)

    def _on_death(self, death: EngineDead) -> None:
        """Fails every request that uses the dead stage, even if it could continue for a while."""
        if death.stage == "talker":
            self._bridge.reset_talker_reports()
        for run in self._running.values():
            if death.stage in run.stages:
                run.fail(death)

    def clip_writer(self, window_s: int | None = None, folder: Path | None = None) -> MelWriter:
        """See `OmniEngine.clip_writer`."""
        return MelWriter(self._mel_bins, self._thinker_dtype, window_frames(window_s), folder)

    def read_ahead(self, request: OmniRequest, key: str, folder: Path | None = None) -> ClipReadAhead:
        """See `OmniEngine.read_ahead`."""
        return ClipReadAhead(request, key, self.clip_writer(folder=folder), self._prompt_reader())

    def read_video_ahead(
        self, request: OmniRequest, key: str, video: VideoClip, samples: int, folder: Path | None = None
    ) -> VideoReadAhead:
        """See `OmniEngine.read_video_ahead`."""
        writer = self.clip_writer(BLOCK_S, folder)
        return VideoReadAhead(request, key, video, samples, writer, self._prompt_reader())

    def _prompt_reader(self) -> PromptReader:
        context = self._context
        return PromptReader(context.generate_text, context.ids, context.media, context.prefill_of)

    def report_consumed(self, request_id: str, samples: int) -> None:
        run = self._running.get(request_id)
        if run is not None:
            run.report_consumed(samples)

    def status(self) -> EngineStatus:
        stages = self._stages
        running = {name: stage.engine.running if stage.alive else 0 for name, stage in stages.items()}
        return EngineStatus(
            stages={name: stage.alive for name, stage in stages.items()},
            thinker_running=running["thinker"],
            talker_running=running.get("talker", 0),
            slots_used=self._slots.used,
            slots_total=self._slots.total,
            paused_streams=self._bridge.paused_streams,
            frame_time=self._bridge.frame_time,
            stuck={name: why for name, stage in stages.items() if (why := stage.stuck) is not None},
            given_up=tuple(name for name, stage in stages.items() if stage.given_up),
            restarts={name: stage.restarts for name, stage in stages.items()},
            dropped_messages=self._bridge.dropped,
        )

    def metrics(self) -> Iterable[Metric]:
        stages = [stage.engine.metrics for stage in self._stages.values() if stage.alive]
        return chain.from_iterable(stage.collect() for stage in stages)

    async def close(self) -> None:
        async with self._owned:
            for task in self._supervising:
                task.cancel()
            await asyncio.gather(*self._supervising, return_exceptions=True)
            await asyncio.gather(*(stage.close() for stage in self._stages.values()))

    def _check_stages(self, needed: tuple[str, ...]) -> None:
        for stage in self._stages.values():
            if stage.name in needed and not stage.alive:
                raise stage.death

    def _check_speech(self, speech: SpeechSampling) -> Talker:
        """The Talker that can speak as asked. Raises InvalidRequest."""
        if self._context.talker is None:
            raise InvalidRequest("this server does not speak: request text only", "modalities")
        if speech.voice not in self._card.voices:
            raise InvalidRequest(
                f"voice {speech.voice!r} does not exist; available: {', '.join(self._card.voices)}",
                "audio.voice",
            )
        return self._context.talker


def memory_items(model: Path, stages: list[Stage]) -> tuple[MemoryItem, ...]:
    """Size of the checkpoint's weights, and of each engine's KV cache as vLLM determined it."""
    items = [MemoryItem("weights", sum(file.stat().st_size for file in model.glob("*.safetensors")))]
    for stage in stages:
        cache = stage.llm.vllm_config.cache_config
        if cache.kv_cache_memory_bytes:
            items.append(MemoryItem(f"{stage.name} KV cache", cache.kv_cache_memory_bytes))
    return tuple(items)
