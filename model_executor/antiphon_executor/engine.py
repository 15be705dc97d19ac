"""The two vLLM engines behind one protocol.

In: `EngineSettings`. Out: an `OmniEngine`. Starts both engines at once, tells whether they live, and ends
them; what happens in a turn stands in `turn_run.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.metrics_core import Metric
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import VLLMClientError
from vllm.platforms import current_platform
from vllm.plugins import load_general_plugins
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from antiphon_executor.bridge import Bridge, SocketFolder
from antiphon_executor.card import model_card, read_config, text_ends
from antiphon_executor.environment import prepare_environment, visible_devices
from antiphon_executor.orphan_guard import claim_children
from antiphon_executor.prompt_ids import PromptIds
from antiphon_executor.protocol import (
    EngineDead,
    EngineStatus,
    InvalidTurn,
    MemoryItem,
    ModelCard,
    TurnEvent,
    TurnRequest,
)
from antiphon_executor.settings import EngineSettings
from antiphon_executor.slot_ledger import SlotLedger
from antiphon_executor.spoken_stream import talker_end
from antiphon_executor.stage import Progress, Stage, start_stage
from antiphon_executor.stage_metrics import joined
from antiphon_executor.talker.engine_args import talker_engine_args
from antiphon_executor.talker.media_arena import pages_for
from antiphon_executor.thinker.engine_args import thinker_engine_args
from antiphon_executor.turn_run import Stages, TurnRun

WATCH_S = 0.1


async def start_engine(settings: EngineSettings, progress: Progress) -> VllmOmniEngine:
    """Loads the checkpoint into both engines. Raises what vLLM raises where that fails."""
    claim_children()
    load_general_plugins()
    config = read_config(settings.model)
    async with AsyncExitStack() as stack:
        folder = SocketFolder()
        stack.callback(folder.close)
        bridge = await stack.enter_async_context(Bridge(folder))
        prepare_environment(folder.path, on_cpu=current_platform.is_cpu())
        started = await _start_all(_plans(settings, folder), progress)
        stages = [stage for stage in started if isinstance(stage, Stage)]
        stack.push_async_callback(_shut_down, stages)
        for failure in started:
            if isinstance(failure, BaseException):
                raise failure
        return VllmOmniEngine(settings, config, stages, bridge, stack.pop_all())
    raise AssertionError("unreachable")


@dataclass(frozen=True, slots=True)
class _Plan:
    """An engine to start; `devices` as in CUDA_VISIBLE_DEVICES."""

    name: str
    arguments: AsyncEngineArgs
    devices: str | None


def _plans(settings: EngineSettings, folder: SocketFolder) -> list[_Plan]:
    rows = folder.rows if settings.speech else None
    plans = [_Plan("thinker", thinker_engine_args(settings, rows), settings.thinker.device)]
    if settings.speech:
        talker = talker_engine_args(settings, text_socket=folder.text, frames_socket=folder.frames)
        plans.append(_Plan("talker", talker, settings.talker.device))
    return plans


async def _start_all(plans: list[_Plan], progress: Progress) -> list[Stage | BaseException]:
    """At once, or, where they have GPUs of their own, one after the other: those are set for the process."""
    if all(plan.devices is None for plan in plans):
        starts = (start_stage(plan.name, plan.arguments, progress) for plan in plans)
        return await asyncio.gather(*starts, return_exceptions=True)
    stages: list[Stage | BaseException] = []
    for plan in plans:
        with visible_devices(plan.devices):
            stages += await asyncio.gather(
                start_stage(plan.name, plan.arguments, progress), return_exceptions=True
            )
    return stages


async def _shut_down(stages: list[Stage]) -> None:
    """All at once and off the event loop: vLLM waits for each engine's process."""
    await asyncio.gather(*(asyncio.to_thread(stage.llm.shutdown) for stage in stages))


class VllmOmniEngine:
    """An `OmniEngine` on vLLM. Closed with `close`, once."""

    def __init__(
        self,
        settings: EngineSettings,
        config: Qwen3OmniMoeConfig,
        stages: list[Stage],
        bridge: Bridge,
        owned: AsyncExitStack,
    ) -> None:
        self._stages = {stage.name: stage for stage in stages}
        self._owned = owned
        thinker = self._stages["thinker"]
        talker = self._stages.get("talker")
        limits = settings.talker
        self._ledger = SlotLedger(limits.streams if talker else 0, pages_for(limits.media_rows))
        self._turns = Stages(
            think=thinker.generate,
            decode=thinker.llm.get_tokenizer().decode,
            ids=PromptIds.of(config),
            thinker_eos=text_ends(settings.model, config),
            talker=talker_end(config, talker, limits.max_frames) if talker else None,
            bridge=bridge,
            ledger=self._ledger,
        )
        self._running: set[TurnRun] = set()
        self._watching = asyncio.create_task(self._watch(), name="engine-watch")
        memory = memory_plan(settings.model, stages)
        self._card = model_card(settings, config, thinker.llm.model_config, memory)

    @property
    def card(self) -> ModelCard:
        return self._card

    async def generate(self, turn: TurnRequest) -> AsyncIterator[TurnEvent]:
        """See `OmniEngine.generate`. Whatever a client can cause is raised as an error of `protocol.py`."""
        self._check(turn)
        run = TurnRun(self._turns, turn)
        self._running.add(run)
        try:
            async with aclosing(run.events()) as events:
                async for event in events:
                    yield event
        except VLLMClientError as error:
            raise InvalidTurn(str(error)) from error
        except (EngineDeadError, EngineGenerateError) as error:
            dead = self._dead_stage()
            if dead is None:
                raise
            raise EngineDead(dead) from error
        finally:
            self._running.discard(run)

    def _dead_stage(self) -> str | None:
        return next((name for name, stage in self._stages.items() if not stage.alive), None)

    async def _watch(self) -> None:
        """The process ends with either engine: a turn that could go on with one alone is told so too."""
        while (dead := self._dead_stage()) is None:  # noqa: ASYNC110 - vLLM has no event for it
            await asyncio.sleep(WATCH_S)
        for run in self._running:
            run.fail(EngineDead(dead))

    def status(self) -> EngineStatus:
        stages = self._stages
        talker = stages.get("talker")
        return EngineStatus(
            stages={name: stage.alive for name, stage in stages.items()},
            thinker_running=stages["thinker"].running,
            talker_running=talker.running if talker else 0,
            slots_used=self._ledger.used,
            slots_total=self._ledger.total,
        )

    def metrics(self) -> Iterable[Metric]:
        return joined([stage.metrics for stage in self._stages.values()])

    async def close(self) -> None:
        self._watching.cancel()
        await self._owned.aclose()

    def _check(self, turn: TurnRequest) -> None:
        speech = turn.speech
        if speech is None:
            return
        if self._turns.talker is None:
            raise InvalidTurn("this server does not speak: ask for text alone", "modalities")
        if speech.voice not in self._card.voices:
            raise InvalidTurn(
                f"voice {speech.voice!r} is not there; available: {', '.join(self._card.voices)}",
                "audio.voice",
            )
        if turn.text.choices != 1:
            raise InvalidTurn("n must be 1 with audio", "n")


def memory_plan(model: Path, stages: list[Stage]) -> tuple[MemoryItem, ...]:
    """What the checkpoint's weights take, and the KV cache of each engine as vLLM settled it."""
    items = [MemoryItem("weights", sum(file.stat().st_size for file in model.glob("*.safetensors")))]
    for stage in stages:
        cache = stage.llm.vllm_config.cache_config
        if cache.kv_cache_memory_bytes:
            items.append(MemoryItem(f"{stage.name} KV cache", cache.kv_cache_memory_bytes))
    return tuple(items)
