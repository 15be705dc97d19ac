"""The families that are served, told apart by a checkpoint's `config.json` alone.

In: a checkpoint's folder. Out: its `Family`, and its config as the family's class, from which all else that
differs follows. Never imports vLLM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeConfig

from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig
from antiphon_executor.models.registry import ARIA_THINKER_ARCHITECTURE, THINKER_ARCHITECTURE


class UnknownFamily(ValueError):
    """A checkpoint of a model that is not served."""


@dataclass(frozen=True, slots=True)
class Family:
    """`architecture`: how the checkpoint names itself; `thinker`: our class for it, as vLLM knows it.

    `thinker_arguments`: what its Thinker needs of vLLM's engine arguments, whatever the operator sets.
    """

    config: type[PreTrainedConfig]
    architecture: str
    thinker: str
    thinker_arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.config.model_type)


QWEN3_OMNI = Family(Qwen3OmniMoeConfig, "Qwen3OmniMoeForConditionalGeneration", THINKER_ARCHITECTURE)
QWEN3_5_OMNI = Family(
    Qwen3_5OmniMoeConfig,
    "Qwen3_5OmniMoeForConditionalGeneration",
    ARIA_THINKER_ARCHITECTURE,
    # The gated-DeltaNet states add up over the whole context. vLLM knows this of its own architectures.
    {"mamba_ssm_cache_dtype": "float32"},
)
FAMILIES = (QWEN3_OMNI, QWEN3_5_OMNI)


def read_family(model: Path) -> Family:
    """`model`: the folder, or its `config.json`. UnknownFamily for another model, OSError without one."""
    file = model / "config.json" if model.is_dir() else model
    given, _ = PreTrainedConfig.get_config_dict(file)
    return family_named(given.get("model_type"))


def family_of(config: PreTrainedConfig) -> Family:
    return family_named(config.model_type)


def family_named(name: str | None) -> Family:
    """`name`: a config's model type."""
    for family in FAMILIES:
        if family.name == name:
            return family
    known = ", ".join(family.name for family in FAMILIES)
    raise UnknownFamily(f"config.json is of model type {name!r}; served are: {known}")


def read_config(model: Path) -> PreTrainedConfig:
    """The checkpoint's config, as its family's class."""
    return read_family(model).config.from_pretrained(model)
