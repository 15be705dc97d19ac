"""The two vLLM engines behind one protocol.

In: `EngineSettings`. Out: an `OmniEngine`. Starts the engines, has them supervised, tells the turns of a
death, and ends them; what happens in a turn stands in `turn_run.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from prometheus_client.metrics_core import Metric
from transformers import PreTrainedConfig
from vllm.exceptions import VLLMClientError
from vllm.platforms import current_platform
from vllm.plugins import load_general_plugins
from vllm.transformers_utils.processor import cached_processor_from_config
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from antiphon_executor.checkpoint.family import read_config
from antiphon_executor.checkpoint.model_card import model_card, text_ends
from antiphon_executor.checkpoint.processor_geometry import geometry_of
from antiphon_executor.checkpoint.voices import voices_of
from antiphon_executor.engine.dtype_selection import for_cpu
from antiphon_executor.engine.launch import Launch, plans
from antiphon_executor.engine.measured_capacity import engine_capacity
from antiphon_executor.engine.talker_factory import talker_of
from antiphon_executor.interface.card import MemoryItem, ModelCard, Voice
from antiphon_executor.interface.errors import EngineDead, InvalidRequest
from antiphon_executor.interface.event_stream import EventStream
from antiphon_executor.interface.request import OmniRequest
from antiphon_executor.interface.settings import EngineSettings
from antiphon_executor.interface.status import EngineStatus
from antiphon_executor.ipc.bridge import Bridge, SocketFolder
from antiphon_executor.ipc.environment import prepare_environment
from antiphon_executor.ipc.parent_watchdog import adopt_children
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.models.talker.prompt_embeddings import pages_for
from antiphon_executor.stages.metrics import joined
from antiphon_executor.stages.restart_policy import RestartPolicy
from antiphon_executor.stages.stage import Progress, Stage, generate_of
from antiphon_executor.stages.supervisor import SupervisedStage, Watch, end_all
from antiphon_executor.turn.request_faults import refusal_of
from antiphon_executor.turn.slots import SlotTracker
from antiphon_executor.turn.turn import RequestRun, Stages

_log = logging.getLogger("antiphon.engine")


async def start_engine(settings: EngineSettings, progress: Progress) -> VllmOmniEngine:
    """Loads the checkpoint into both engines. Raises `VoiceError`, or what vLLM raises where that fails."""
    adopt_children()
    load_general_plugins()
    config = read_config(settings.model)
    if current_platform.is_cpu():
        settings = for_cpu(settings, config)
    voices = voices_of(settings.model, config, settings.voices) if settings.speech else ()
    async with AsyncExitStack() as stack:
        folder = SocketFolder()
        stack.callback(folder.close)
        bridge = await stack.enter_async_context(Bridge(folder))
        prepare_environment(folder.path, on_cpu=current_platform.is_cpu(), streams=settings.talker.streams)
        launch, planned = Launch(progress, bridge), plans(settings, config, folder)
        stages = await launch.start_all(planned)
        restarts = {plan.name: partial(launch.start, plan) for plan in planned}
        try:
            engine = VllmOmniEngine(settings, config, voices, stages, restarts, bridge)
        except BaseException:
            await end_all(stages)
            raise
        engine.begin(stack.pop_all())
        return engine
    raise AssertionError("unreachable")


class VllmOmniEngine:
    """An `OmniEngine` on vLLM, from `begin` until `close`: until then it owns nothing."""

    def __init__(
        self,
        settings: EngineSettings,
        config: PreTrainedConfig,
        voices: tuple[Voice, ...],
        stages: list[Stage],
        restarts: Mapping[str, Callable[[], Awaitable[Stage]]],
        bridge: Bridge,
    ) -> None:
        watch = Watch(RestartPolicy(settings.restarts), settings.hang_s, settings.stuck_s)
        self._stages = {
            stage.name: SupervisedStage(stage.name, stage, restarts[stage.name], watch, self._died)
            for stage in stages
        }
        self._owned = AsyncExitStack()
        thinker = self._stages["thinker"]
        talker = self._stages.get("talker")
        limits = settings.talker
        memory = memory_plan(settings.model, stages)
        capacity = engine_capacity(settings, config, {one.name: one.llm.vllm_config for one in stages})
        model, tokenizer = thinker.engine.llm.model_config, thinker.engine.llm.get_tokenizer()
        media = geometry_of(
            config,
            cached_processor_from_config(model),
            partial(tokenizer.encode, add_special_tokens=False),
        )
        self._card = model_card(settings, config, voices, model, memory, capacity, media)
        self._vocabulary: int = model.get_vocab_size()
        self._context_tokens: int = model.max_model_len
        self._ledger = SlotTracker(limits.streams if talker else 0, pages_for(limits.media_rows))
        self._turns = Stages(
            think=generate_of(thinker),
            decode=partial(tokenizer.decode, skip_special_tokens=True),
            ids=PromptIds.of(config),
            thinker_eos=text_ends(settings.model, config),
            talker=talker_of(settings, config, talker, bridge, self._ledger) if talker else None,
            bridge=bridge,
            ledger=self._ledger,
            guard=None if self._card.random_weights else limits.guard,
            waits=settings.waits,
            pacing=limits.pace,
            encode=partial(thinker.engine.llm.get_tokenizer().encode, add_special_tokens=False),
        )
        self._bridge = bridge
        self._running: dict[str, RequestRun] = {}
        self._supervising: list[asyncio.Task[None]] = []

    def begin(self, owned: AsyncExitStack) -> None:
        """Has the stages supervised. They, and what `owned` closes, end with `close`."""
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

    async def _produce(self, request: OmniRequest, events: EventStream) -> None:
        """Runs a request. Errors that a client can cause are raised as the interface's."""
        self._check(request)
        run = RequestRun(self._turns, request)
        self._running[run.request_id] = run
        try:
            await run.run(events)
        except VLLMClientError as error:
            fields = {"error": type(error).__name__, "parameter": getattr(error, "parameter", None)}
            _log.info("vLLM refused a request", extra={"fields": fields})
            raise refusal_of(error, request, self._vocabulary, self._context_tokens) from error
        except (EngineDeadError, EngineGenerateError) as error:
            dead = self._dead_stage()
            if dead is None:
                raise
            raise dead.death from error
        finally:
            self._running.pop(run.request_id, None)

    def _dead_stage(self) -> SupervisedStage[Stage] | None:
        return next((stage for stage in self._stages.values() if not stage.alive), None)

    def _died(self, death: EngineDead) -> None:
        """Ends every turn that needs the dead stage, one that could go on without it for a while too."""
        if death.stage == "talker":
            self._bridge.reset_talker_reports()
        for run in self._running.values():
            if death.stage == "thinker" or run.speaks:
                run.fail(death)

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
            slots_used=self._ledger.used,
            slots_total=self._ledger.total,
            paused_streams=self._bridge.paused_streams,
            frame_time=self._bridge.frame_time,
            stuck={name: why for name, stage in stages.items() if (why := stage.stuck) is not None},
            given_up=tuple(name for name, stage in stages.items() if stage.given_up),
            restarts={name: stage.restarts for name, stage in stages.items()},
            dropped_messages=self._bridge.dropped,
        )

    def metrics(self) -> Iterable[Metric]:
        return joined([stage.engine.metrics for stage in self._stages.values() if stage.alive])

    async def close(self) -> None:
        async with self._owned:
            for task in self._supervising:
                task.cancel()
            await asyncio.gather(*self._supervising, return_exceptions=True)
            await asyncio.gather(*(stage.close() for stage in self._stages.values()))

    def _check(self, turn: OmniRequest) -> None:
        speech = turn.speech
        needed = ("thinker",) if speech is None else ("thinker", "talker")
        for stage in self._stages.values():
            if stage.name in needed and not stage.alive:
                raise stage.death
        if speech is None:
            return
        if self._turns.talker is None:
            raise InvalidRequest("this server does not speak: ask for text alone", "modalities")
        if speech.voice not in self._card.voices:
            raise InvalidRequest(
                f"voice {speech.voice!r} is not there; available: {', '.join(self._card.voices)}",
                "audio.voice",
            )
        if turn.text.choices != 1:
            raise InvalidRequest("n must be 1 with audio", "n")


def memory_plan(model: Path, stages: list[Stage]) -> tuple[MemoryItem, ...]:
    """What the checkpoint's weights take, and the KV cache of each engine as vLLM settled it."""
    items = [MemoryItem("weights", sum(file.stat().st_size for file in model.glob("*.safetensors")))]
    for stage in stages:
        cache = stage.llm.vllm_config.cache_config
        if cache.kv_cache_memory_bytes:
            items.append(MemoryItem(f"{stage.name} KV cache", cache.kv_cache_memory_bytes))
    return tuple(items)
