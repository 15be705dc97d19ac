"""Counts the elements of a checkpoint's parts from its config, on the meta device. Loads no weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers.models.qwen3_omni_moe import Qwen3OmniMoeForConditionalGeneration

from antiphon_executor.checkpoint.family import QWEN3_5_OMNI, family_of
from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav
from antiphon_executor.models.thinker.talker_presence import has_talker
from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration


@dataclass(frozen=True, slots=True)
class WeightSizes:
    """Number of elements by part.

    `layers`: the Thinker's decoder layers, which can be quantized; `vocabulary`: its embedding and head;
    `towers`: its audio and vision encoders; `talker`: includes code predictor and vocoder.
    `vocoder_state_bytes`: state of the vocoder per stream, in bytes. Both are 0 without a Talker.
    """

    layers: int
    vocabulary: int
    towers: int
    talker: int
    vocoder_state_bytes: int

    @property
    def thinker(self) -> int:
        return self.layers + self.vocabulary + self.towers


def weight_sizes(config: PreTrainedConfig) -> WeightSizes:
    """Sizes for a config of either family. Takes about a second for the largest."""
    with torch.device("meta"):
        model = _model(config)
        vocoder = StreamingCode2Wav(config.code2wav_config, slots=2) if has_talker(config) else None
    thinker = model.get_submodule("thinker")
    embedding = thinker.get_submodule("model.embed_tokens")
    vocabulary = _elements(embedding) + _elements(thinker.get_submodule("lm_head"))
    return WeightSizes(
        layers=_elements(thinker.get_submodule("model")) - _elements(embedding),
        vocabulary=vocabulary,
        towers=_elements(thinker.get_submodule("audio_tower")) + _elements(thinker.get_submodule("visual")),
        talker=sum(_elements(model.get_submodule(part)) for part in ("talker", "code2wav")) if vocoder else 0,
        vocoder_state_bytes=vocoder.state.bytes_per_slot if vocoder else 0,
    )


def _model(config: PreTrainedConfig) -> nn.Module:
    if family_of(config) is QWEN3_5_OMNI:
        return Qwen3_5OmniMoeForConditionalGeneration(config)
    return Qwen3OmniMoeForConditionalGeneration(config)


def _elements(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
