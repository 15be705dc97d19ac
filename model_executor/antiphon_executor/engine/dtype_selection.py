"""Selects float32 on CPUs that are slow in 16 bits, and 16 bits for quantized weights.

A CPU without AVX-512 converts bfloat16 to float32 and back for every operation. antiphon-nano's time to first
audio is 1.5 times as long in bfloat16 there, and four simultaneous streams take 1.2 times as long.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedConfig

from antiphon_executor.checkpoint.quantization import thinker_quantization
from antiphon_executor.interface.settings import EngineSettings


def has_fast_bfloat16() -> bool:
    """Whether this machine's CPU has AVX-512."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


def with_cpu_dtypes(settings: EngineSettings, config: PreTrainedConfig) -> EngineSettings:
    """The settings with `auto` replaced by float32 if it means 16 bits and the CPU is slow in them.

    vLLM's kernels for quantized weights compute in 16 bits only.
    """
    if thinker_quantization(config) is not None and settings.thinker.dtype == "auto":
        thinker = settings.thinker.model_copy(update={"dtype": "bfloat16"})
        settings = settings.model_copy(update={"thinker": thinker})
    if has_fast_bfloat16() or config.dtype not in (torch.bfloat16, torch.float16):
        return settings
    stages = {
        name: stage.model_copy(update={"dtype": "float32"})
        for name, stage in (("thinker", settings.thinker), ("talker", settings.talker))
        if stage.dtype == "auto"
    }
    return settings.model_copy(update=stages)
