"""Quantized weights of a Thinker: what the checkpoint's config says of them, and what its tensors show.

vLLM reads the quantization only at the top of a config; some checkpoints have it in `thinker_config`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from antiphon_executor.checkpoint.tensors import tensor_names

_EXPERT_PARTS = re.compile(r"^thinker\..*\.mlp\.experts\..*(scales?|qweight|weight_packed|weight_scale_inv)$")


def thinker_quantization(config: PreTrainedConfig) -> dict[str, Any] | None:
    """The Thinker's `quantization_config`, wherever the checkpoint has it; None if it is not quantized."""
    thinker = config.thinker_config
    for owner in (config, thinker, thinker.text_config):
        found = getattr(owner, "quantization_config", None)
        if found is not None:
            return found if isinstance(found, dict) else dict(found.to_dict())
    return None


def has_quantized_experts(model: Path) -> bool:
    return any(_EXPERT_PARTS.match(name) for name in tensor_names(model))
