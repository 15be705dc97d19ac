"""The supported model families, identified by the checkpoint's `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeConfig

from antiphon_executor.models.architectures import ARIA_THINKER_ARCHITECTURE, THINKER_ARCHITECTURE
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig
from antiphon_executor.models.qwen3_5_omni.names import MODEL_TYPES


class UnknownFamily(ValueError):
    """The checkpoint's model type is not supported."""


@dataclass(frozen=True, slots=True)
class Family:
    """A model family.

    `architecture`: name in the checkpoint's config. `thinker`: name of our Thinker class in vLLM's registry.
    `thinker_arguments`: vLLM engine arguments that its Thinker always needs.
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
    # Gated-DeltaNet states accumulate over the whole context. vLLM sets this only for its own architectures.
    {"mamba_ssm_cache_dtype": "float32"},
)
FAMILIES = (QWEN3_OMNI, QWEN3_5_OMNI)


def read_family(model: Path) -> Family:
    """`model`: the folder or its `config.json`. Raises UnknownFamily or, if there is no config, OSError."""
    file = model / "config.json" if model.is_dir() else model
    given, _ = PreTrainedConfig.get_config_dict(file)
    return family_named(given.get("model_type"))


def family_of(config: PreTrainedConfig) -> Family:
    return family_named(config.model_type)


def family_named(name: str | None) -> Family:
    """The family whose model type is `name`. Raises UnknownFamily."""
    for family in FAMILIES:
        if family.name == name or (family is QWEN3_5_OMNI and name in MODEL_TYPES):
            return family
    known = ", ".join(family.name for family in FAMILIES)
    raise UnknownFamily(f"config.json has the model type {name!r}; supported: {known}")


def read_config(model: Path) -> PreTrainedConfig:
    """The checkpoint's config as an instance of its family's class."""
    return read_family(model).config.from_pretrained(model)
