"""What the server is told of a checkpoint, read from its folder."""

from __future__ import annotations

import json
from pathlib import Path

from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeConfig

from antiphon_executor.protocol import MemoryItem, ModelCard
from antiphon_executor.settings import EngineSettings

CARD_FILE = "antiphon_card.json"
MODALITIES = ("text", "audio", "image", "video")


def model_card(
    settings: EngineSettings, config: Qwen3OmniMoeConfig, context_tokens: int, memory: tuple[MemoryItem, ...]
) -> ModelCard:
    """`antiphon_card.json`, where a checkpoint has one, says that its weights are random."""
    card = settings.model / CARD_FILE
    notes = json.loads(card.read_text()) if card.is_file() else {}
    voices = tuple(sorted(config.talker_config.speaker_id)) if settings.speech else ()
    return ModelCard(
        name=settings.served_model_name or settings.model.name,
        family=config.model_type,
        path=settings.model,
        context_tokens=context_tokens,
        input_modalities=MODALITIES,
        voices=voices,
        default_voice=("ethan" if "ethan" in voices else voices[0]) if voices else None,
        random_weights=bool(notes.get("random_weights", False)),
        memory=memory,
    )


def read_config(model: Path) -> Qwen3OmniMoeConfig:
    return Qwen3OmniMoeConfig.from_pretrained(model)
