"""The settings that the engines run with: the operator's, as far as checkpoint and machine allow them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from transformers import PreTrainedConfig
from vllm.platforms import current_platform

from antiphon_executor.engine.cpu_quantization import check_cpu_quantization
from antiphon_executor.engine.determinism import with_determinism
from antiphon_executor.engine.dtype_selection import with_cpu_dtypes
from antiphon_executor.engine.memory_check import check_memory
from antiphon_executor.engine.talker_factory import check_graphs, with_speech_of
from antiphon_executor.interface.settings import EngineSettings


def effective_settings(settings: EngineSettings, config: PreTrainedConfig) -> EngineSettings:
    """The same for settings that have been through it."""
    on_cpu = current_platform.is_cpu()
    settings = with_determinism(with_speech_of(settings, config), on_cpu=on_cpu)
    return with_cpu_dtypes(settings, config) if on_cpu else settings


async def checked_settings(
    settings: EngineSettings, config: PreTrainedConfig, progress: Callable[[str], None]
) -> EngineSettings:
    """The same. Raises `OperatorError` for what cannot run on this machine."""
    if current_platform.is_cpu():
        check_cpu_quantization(settings, config)
    else:
        check_graphs(settings)
    settings = effective_settings(settings, config)
    await asyncio.to_thread(check_memory, settings, config, progress)
    return settings
