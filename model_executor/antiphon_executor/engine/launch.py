"""Starts the engines of a server: in parallel on a CPU, one after the other on GPUs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from transformers import PreTrainedConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.platforms import current_platform

from antiphon_executor.engine.talker_factory import talker_args
from antiphon_executor.interface.settings import EngineSettings
from antiphon_executor.ipc.bridge import Bridge, SocketFolder
from antiphon_executor.ipc.environment import prepare_environment, visible_devices
from antiphon_executor.stages.compilation import runs_compiled
from antiphon_executor.stages.stage import Progress, Stage, start_stage
from antiphon_executor.stages.supervisor import end_all
from antiphon_executor.stages.thinker_args import thinker_engine_args


@dataclass(frozen=True, slots=True)
class StageSpec:
    """An engine to start. `devices`: its CUDA_VISIBLE_DEVICES, None for all."""

    name: str
    arguments: AsyncEngineArgs
    devices: str | None


@asynccontextmanager
async def engine_surroundings(settings: EngineSettings) -> AsyncIterator[tuple[SocketFolder, Bridge]]:
    """The sockets of engines with these settings. The environment in which they start is set first."""
    folder = SocketFolder()
    try:
        async with Bridge(folder) as bridge:
            prepare_environment(
                folder.path,
                on_cpu=current_platform.is_cpu(),
                streams=settings.talker.streams,
                engines=2 if settings.speech else 1,
                compiled=runs_compiled(settings),
            )
            yield folder, bridge
    finally:
        folder.close()


def stage_specs(settings: EngineSettings, config: PreTrainedConfig, folder: SocketFolder) -> list[StageSpec]:
    """The Thinker and, if the server speaks, the Talker."""
    rows = folder.hidden_states if settings.speech else None
    shares_cores = settings.speech and current_platform.is_cpu()
    # Without it the Thinker keeps its number of threads and its chunks, whatever the Talker does.
    activity = folder.activity if shares_cores and not settings.deterministic else None
    specs = [StageSpec("thinker", thinker_engine_args(settings, rows, activity), settings.thinker.device)]
    if settings.speech:
        specs.append(
            StageSpec("talker", talker_args(settings, config, folder, activity), settings.talker.device)
        )
    return specs


class Launcher:
    """Starts engines; those on GPUs one after the other.

    A starting engine measures its memory as what the whole device has less of, so it would count what another
    one loads. Also, the devices are an environment variable of this process.
    """

    def __init__(self, progress: Progress, bridge: Bridge) -> None:
        self._progress = progress
        self._bridge = bridge
        self._device_lock = asyncio.Lock()
        self._on_gpu = not current_platform.is_cpu()

    async def start(self, spec: StageSpec) -> Stage:
        await self._bridge.resume_reading(spec.name)
        is_reading = partial(self._bridge.is_reading, spec.name)
        if spec.devices is None and not self._on_gpu:
            return await start_stage(spec.name, spec.arguments, self._progress, is_reading)
        async with self._device_lock:
            with visible_devices(spec.devices):
                return await start_stage(spec.name, spec.arguments, self._progress, is_reading)

    async def start_all(self, specs: list[StageSpec]) -> list[Stage]:
        """Starts all engines or none: if one fails, the others are ended. Raises the first failure."""
        starting = [asyncio.ensure_future(self.start(spec)) for spec in specs]
        try:
            started = await asyncio.gather(*starting, return_exceptions=True)
        except asyncio.CancelledError:
            # Engines that had started before the cancellation have no owner yet.
            ends = await asyncio.gather(*starting, return_exceptions=True)
            await end_all(stage for stage in ends if isinstance(stage, Stage))
            raise
        stages = [stage for stage in started if isinstance(stage, Stage)]
        for failure in started:
            if isinstance(failure, BaseException):
                await end_all(stages)
                raise failure
        return stages
