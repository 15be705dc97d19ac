"""The model card: properties of the loaded model that the server uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from antiphon_executor.interface.capacity import EngineCapacity
from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_executor.interface.request import SpeechSampling, TextSampling

SPOKEN_CHARS = 400


@dataclass(frozen=True, slots=True)
class MemoryItem:
    """One line of the memory table in the start-up banner."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice of the model. `language`: a BCP 47 tag. It and `licence` are None if not specified."""

    id: str
    name: str
    language: str | None = None
    licence: str | None = None
    default: bool = False


@dataclass(frozen=True, slots=True)
class Listening:
    """How a model is asked, beside a recording, for a transcript or for a translation into English.

    `{language}` stands for the recording's language and a space. `translate`: None if it cannot.
    `languages`: ISO 639-1 codes that it understands; empty if any.
    """

    transcribe: str = "Transcribe the {language}audio into text."
    translate: str | None = (
        "Listen to the provided {language}speech and produce a translation in English text."
    )
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Properties of the loaded model.

    `sampling`, `speech`: recommended values for options that a request does not set; `speech` names the
    default voice and is None for a text-only server. `voice_table`: all voices, exactly one the default;
    empty for a text-only server. `has_talker`: whether the checkpoint could speak. `deterministic`: a seed
    gives the same answer at any load. `media`: image sizes and token counts of media. `could_be_compiled`:
    text would be faster after `antiphon compile`. `kept_audio_s`: seconds of audio whose features the engine
    keeps for later requests. `reads_ahead`: the engine can read a prompt while its recording is decoded.
    """

    name: str
    family: str
    path: Path
    context_tokens: int
    input_modalities: tuple[str, ...]
    voice_table: tuple[Voice, ...]
    random_weights: bool
    has_talker: bool = True
    deterministic: bool = False
    sampling: TextSampling = field(default_factory=TextSampling)
    speech: SpeechSampling | None = None
    memory: tuple[MemoryItem, ...] = ()
    capacity: EngineCapacity = field(default_factory=EngineCapacity)
    media: MediaGeometry = field(default_factory=MediaGeometry)
    listening: Listening = field(default_factory=Listening)
    spoken_chars: int = SPOKEN_CHARS
    could_be_compiled: bool = False
    kept_audio_s: float = 0.0
    reads_ahead: bool = False

    @property
    def voices(self) -> tuple[str, ...]:
        """Ids of the voices, the valid values of `SpeechSampling.voice`."""
        return tuple(voice.id for voice in self.voice_table)

    @property
    def default_voice(self) -> str | None:
        return next((voice.id for voice in self.voice_table if voice.default), None)

    @property
    def speaks(self) -> bool:
        return bool(self.voice_table)
