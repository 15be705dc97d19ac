"""Builds the `ModelCard` of a checkpoint from its folder."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from transformers import GenerationConfig, PreTrainedConfig

from antiphon_executor.interface.capacity import EngineCapacity
from antiphon_executor.interface.card import SPOKEN_CHARS, Listening, MemoryItem, ModelCard, Voice
from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_executor.interface.request import RepetitionDetection, SpeechSampling, TextSampling
from antiphon_executor.interface.settings import EngineSettings
from antiphon_executor.models.thinker.talker_presence import has_talker

if TYPE_CHECKING:
    from vllm.config import ModelConfig

CARD_FILE = "antiphon_card.json"
GENERATION_CONFIG = "generation_config.json"
MODALITIES = ("text", "audio", "image", "video")

_PARTS = ("speech", "repetition_detection", "listening")
_Sampling = TypeVar("_Sampling", TextSampling, SpeechSampling)


def model_card(
    settings: EngineSettings,
    config: PreTrainedConfig,
    voices: tuple[Voice, ...],
    thinker: ModelConfig,
    memory: tuple[MemoryItem, ...],
    capacity: EngineCapacity,
    media: MediaGeometry,
) -> ModelCard:
    """The card of a checkpoint. `voices`: empty for a text-only server.

    Default text sampling comes from the checkpoint's generation config; if that is silent, it is greedy as in
    transformers. `antiphon_card.json`, if present, may set `random_weights`, `repetition_detection`,
    `speech` (names as in `SpeechSampling`), `listening` (by default Qwen's recipe for Qwen3-Omni) and
    `spoken_chars`.
    """
    card_file = read_card_file(settings.model)
    default = next((voice.id for voice in voices if voice.default), None)
    return ModelCard(
        name=settings.served_model_name or settings.model.name,
        family=config.model_type,
        path=settings.model,
        context_tokens=thinker.max_model_len,
        input_modalities=MODALITIES,
        voice_table=voices,
        random_weights=bool(card_file.get("random_weights", False)),
        has_talker=has_talker(config),
        deterministic=settings.deterministic,
        sampling=replace(
            _recommended(_silent_sampling(settings.model), thinker.get_diff_sampling_param()),
            repetition_detection=_detection(card_file.get("repetition_detection")),
        ),
        speech=_recommended(SpeechSampling(default), card_file.get("speech", {})) if default else None,
        memory=memory,
        capacity=capacity,
        media=media,
        listening=_listening(card_file.get("listening", {})),
        spoken_chars=int(card_file.get("spoken_chars", SPOKEN_CHARS)),
    )


def read_card_file(model: Path) -> dict[str, Any]:
    """The contents of `antiphon_card.json`, empty if there is none. Raises ValueError if it is invalid."""
    card = model / CARD_FILE
    contents = json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {}
    if isinstance(contents, dict) and all(isinstance(contents.get(part, {}), dict) for part in _PARTS):
        return contents
    raise ValueError(f"{card} is not a valid model card")


def _recommended(normal: _Sampling, given: dict[str, Any]) -> _Sampling:
    kind = type(normal)
    usual = {field.name: getattr(normal, field.name) for field in fields(kind)}
    return kind(**usual | {name: value for name, value in given.items() if name in usual})


def _listening(given: dict[str, Any]) -> Listening:
    usual = Listening()
    return Listening(
        given.get("transcribe", usual.transcribe),
        given.get("translate", usual.translate),
        tuple(given.get("languages", usual.languages)),
    )


def _silent_sampling(model: Path) -> TextSampling:
    """Text sampling if the generation config sets no parameter of it."""
    file = model / GENERATION_CONFIG
    given = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return TextSampling(temperature=1.0 if given.get("do_sample") else 0.0)


def _detection(given: dict[str, int] | None) -> RepetitionDetection | None:
    try:
        return None if given is None else RepetitionDetection(**given)
    except TypeError as error:
        raise ValueError(f"{CARD_FILE}: repetition_detection: {error}") from None


def text_ends(model: Path, config: PreTrainedConfig) -> frozenset[int]:
    """The tokens that end an answer. vLLM stops at them, and they are never spoken."""
    ends = {config.im_end_token_id}
    if (model / GENERATION_CONFIG).is_file():
        given = GenerationConfig.from_pretrained(model).eos_token_id
        ends |= set(given if isinstance(given, list) else [given]) - {None}
    return frozenset(ends)
