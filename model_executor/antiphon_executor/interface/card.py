"""The model card: what the server needs to know of the loaded model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from antiphon_executor.interface.capacity import EngineCapacity
from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_executor.interface.request import SpeechSampling, TextSampling


@dataclass(frozen=True, slots=True)
class MemoryItem:
    """One line of the memory plan, for the banner."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice to speak in. `language`: a BCP 47 tag. It and `licence` are None where nobody says."""

    id: str
    name: str
    language: str | None = None
    licence: str | None = None
    default: bool = False


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What the server needs to know of the loaded model.

    `sampling`, `speech`: what its makers recommend, for what a request leaves open; `speech` in the default
    voice, None where it does not speak. `voice_table`: every voice, one of them the default; empty there.
    `media`: how large the model makes pictures, and how many tokens media take.
    """

    name: str
    family: str
    path: Path
    context_tokens: int
    input_modalities: tuple[str, ...]
    voice_table: tuple[Voice, ...]
    random_weights: bool
    sampling: TextSampling = field(default_factory=TextSampling)
    speech: SpeechSampling | None = None
    memory: tuple[MemoryItem, ...] = ()
    capacity: EngineCapacity = field(default_factory=EngineCapacity)
    media: MediaGeometry = field(default_factory=MediaGeometry)

    @property
    def voices(self) -> tuple[str, ...]:
        """Their ids: what `SpeechSampling.voice` may be."""
        return tuple(voice.id for voice in self.voice_table)

    @property
    def default_voice(self) -> str | None:
        return next((voice.id for voice in self.voice_table if voice.default), None)

    @property
    def speaks(self) -> bool:
        return bool(self.voice_table)
