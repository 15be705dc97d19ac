"""Refuses quantized weights that vLLM has no CPU kernel for, before anything is loaded."""

from __future__ import annotations

import platform
from pathlib import Path

from transformers import PreTrainedConfig

from antiphon_executor.checkpoint.quantization import has_quantized_experts, thinker_quantization
from antiphon_executor.interface.errors import OperatorError
from antiphon_executor.interface.settings import EngineSettings

_X86 = ("x86_64", "AMD64")
_CPU_FLAGS = Path("/proc/cpuinfo")


def check_cpu_quantization(settings: EngineSettings, config: PreTrainedConfig) -> None:
    """Raises `OperatorError` for what vLLM has no kernel for.

    Quantized weights compute in 16 bits; FP8 and quantized experts need AMX on x86.
    """
    quantization = thinker_quantization(config)
    if quantization is not None and settings.thinker.dtype == "float32":
        method = quantization.get("quant_method")
        raise OperatorError(
            f"the Thinker's weights are quantized ({method}): on a CPU they compute in 16 bits, "
            "so --dtype cannot be float32"
        )
    if not is_x86() or has_amx():
        return
    given = quantization or {}
    method = settings.thinker.quantization or given.get("quant_method")
    if method == "fp8":
        raise OperatorError("the Thinker's weights are FP8: on a CPU they need AMX, and this one has none")
    if method is not None and has_quantized_experts(settings.model):
        raise OperatorError(
            f"the Thinker's experts are quantized ({method}): on a CPU they need AMX, and this one has none"
        )


def is_x86() -> bool:
    return platform.machine() in _X86


def has_amx() -> bool:
    return _CPU_FLAGS.is_file() and " amx_tile" in _CPU_FLAGS.read_text(encoding="utf-8")
