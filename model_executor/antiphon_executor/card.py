"""What the server is told of a checkpoint, read from its folder."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import GenerationConfig
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeConfig

from antiphon_executor.protocol import MemoryItem, ModelCard, TextSampling
from antiphon_executor.settings import EngineSettings

if TYPE_CHECKING:
    from vllm.config import ModelConfig

CARD_FILE = "antiphon_card.json"
GENERATION_CONFIG = "generation_config.json"
MODALITIES = ("text", "audio", "image", "video")


def model_card(
    settings: EngineSettings, config: Qwen3OmniMoeConfig, thinker: ModelConfig, memory: tuple[MemoryItem, ...]
) -> ModelCard:
    """`antiphon_card.json`, where a checkpoint has one, says that its weights are random.

    Sampling that a request leaves open is drawn as the checkpoint's generation config recommends.
    """
    card = settings.model / CARD_FILE
    notes = json.loads(card.read_text()) if card.is_file() else {}
    voices = tuple(sorted(config.talker_config.speaker_id)) if settings.speech else ()
    return ModelCard(
        name=settings.served_model_name or settings.model.name,
        family=config.model_type,
        path=settings.model,
        context_tokens=thinker.max_model_len,
        input_modalities=MODALITIES,
        voices=voices,
        default_voice=("ethan" if "ethan" in voices else voices[0]) if voices else None,
        random_weights=bool(notes.get("random_weights", False)),
        sampling=_recommended(thinker),
        memory=memory,
    )


def _recommended(thinker: ModelConfig) -> TextSampling:
    given = thinker.get_diff_sampling_param()
    known = {field.name for field in fields(TextSampling)}
    return TextSampling(**{name: value for name, value in given.items() if name in known})


def text_ends(model: Path, config: Qwen3OmniMoeConfig) -> frozenset[int]:
    """The tokens that end an answer: vLLM stops at them, and they are never spoken."""
    ends = {config.im_end_token_id}
    if (model / GENERATION_CONFIG).is_file():
        given = GenerationConfig.from_pretrained(model).eos_token_id
        ends |= set(given if isinstance(given, list) else [given]) - {None}
    return frozenset(ends)


def read_config(model: Path) -> Qwen3OmniMoeConfig:
    return Qwen3OmniMoeConfig.from_pretrained(model)
