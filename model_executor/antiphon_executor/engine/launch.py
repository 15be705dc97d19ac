"""How the engines of a server start: both at once, or one after the other where each has GPUs of its own.

In: the settings and the bridge's sockets. Out: running stages, and for each a way to start it again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from transformers import PreTrainedConfig
from vllm.engine.arg_utils import AsyncEngineArgs

from antiphon_executor.engine.talker_factory import talker_arguments
from antiphon_executor.interface.settings import EngineSettings
from antiphon_executor.ipc.bridge import Bridge, SocketFolder
from antiphon_executor.ipc.environment import visible_devices
from antiphon_executor.stages.stage import Progress, Stage, start_stage
from antiphon_executor.stages.supervisor import end_all
from antiphon_executor.stages.thinker_args import thinker_engine_args


@dataclass(frozen=True, slots=True)
class Plan:
    """An engine to start; `devices` as in CUDA_VISIBLE_DEVICES."""

    name: str
    arguments: AsyncEngineArgs
    devices: str | None


def plans(settings: EngineSettings, config: PreTrainedConfig, folder: SocketFolder) -> list[Plan]:
    rows = folder.rows if settings.speech else None
    planned = [Plan("thinker", thinker_engine_args(settings, rows), settings.thinker.device)]
    if settings.speech:
        planned.append(Plan("talker", talker_arguments(settings, config, folder), settings.talker.device))
    return planned


class Launch:
    """Starts what was planned. The devices of an engine are set for the process: those starts take turns."""

    def __init__(self, progress: Progress, bridge: Bridge) -> None:
        self._progress = progress
        self._bridge = bridge
        self._devices = asyncio.Lock()

    async def start(self, plan: Plan) -> Stage:
        await self._bridge.resume_reading(plan.name)
        is_heard = partial(self._bridge.is_reading, plan.name)
        if plan.devices is None:
            return await start_stage(plan.name, plan.arguments, self._progress, is_heard)
        async with self._devices:
            with visible_devices(plan.devices):
                return await start_stage(plan.name, plan.arguments, self._progress, is_heard)

    async def start_all(self, planned: list[Plan]) -> list[Stage]:
        """All of them, or none: what had started is ended where another fails. Raises the first failure."""
        starting = [asyncio.ensure_future(self.start(plan)) for plan in planned]
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
