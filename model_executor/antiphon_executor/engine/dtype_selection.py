"""The number format that this machine computes quickly.

Without AVX-512, a CPU does arithmetic in bfloat16 by way of float32 and back: antiphon-nano's first sound
took 1.5 times as long so as in float32 throughout, and four streams at once 1.2 times.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedConfig

from antiphon_executor.interface.settings import EngineSettings


def is_quick_in_bfloat16() -> bool:
    """Of this machine's CPU."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


def for_cpu(settings: EngineSettings, config: PreTrainedConfig) -> EngineSettings:
    """float32 where `auto` means 16 bits and the CPU is slow in them; all else as it is set."""
    if is_quick_in_bfloat16() or config.dtype not in (torch.bfloat16, torch.float16):
        return settings
    stages = {
        name: stage.model_copy(update={"dtype": "float32"})
        for name, stage in (("thinker", settings.thinker), ("talker", settings.talker))
        if stage.dtype == "auto"
    }
    return settings.model_copy(update=stages)
