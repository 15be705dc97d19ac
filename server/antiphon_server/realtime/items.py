"""Items of a conversation, and how they are shown to the client."""

from __future__ import annotations

from dataclasses import dataclass, field
from sys import getsizeof
from typing import Any, Literal

import pybase64

from antiphon_executor.interface.media import RgbImage
from antiphon_server.realtime.audio.sound import HeardSound
from antiphon_server.realtime.audio.spoken_sound import SpokenSound
from antiphon_server.realtime.generated_text import GeneratedText

ItemStatus = Literal["in_progress", "completed", "incomplete"]
Role = Literal["user", "system", "assistant"]
Event = dict[str, Any]


@dataclass(slots=True)
class TextPart:
    """Of a user or the system, or of an answer in text."""

    text: str
    is_output: bool = False
    generated: GeneratedText | None = None

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Of the text, if the model has generated it."""
        return () if self.generated is None else self.generated.ids_of(self.text)

    def show(self, with_audio: bool) -> Event:
        return {"type": "output_text" if self.is_output else "input_text", "text": self.text}


@dataclass(slots=True)
class HeardPart:
    """`transcript`: the client's, or made for it. The model hears the sound."""

    sound: HeardSound
    transcript: str | None = None

    def show(self, with_audio: bool) -> Event:
        shown: Event = {"type": "input_audio", "transcript": self.transcript}
        if with_audio:
            shown["audio"] = pybase64.b64encode_as_string(self.sound.samples.tobytes())
            shown["format"] = {"type": "audio/pcm", "rate": 16_000}
        return shown


@dataclass(slots=True)
class ImagePart:
    image: RgbImage

    def show(self, with_audio: bool) -> Event:
        return {"type": "input_image", "image_url": None, "detail": "auto"}


@dataclass(slots=True)
class SpokenPart:
    """`sound`: None for an answer that the client has told of by its transcript."""

    transcript: str
    sound: SpokenSound | None = None
    generated: GeneratedText | None = None

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Of the text that was heard, if the model has generated it."""
        return () if self.generated is None else self.generated.ids_of(self.heard_text)

    @property
    def heard_text(self) -> str:
        """What the user has heard of it, as far as is known."""
        return self.transcript if self.sound is None else self.sound.heard_text(self.transcript)

    def show(self, with_audio: bool) -> Event:
        """With its audio it is shown as it was heard, else as it was generated."""
        shown: Event = {"type": "output_audio", "transcript": self.transcript}
        if with_audio and self.sound is not None:
            shown["transcript"] = self.heard_text
            shown["audio"] = pybase64.b64encode_as_string(self.sound.heard_pcm())
        return shown


Part = TextPart | HeardPart | ImagePart | SpokenPart


@dataclass(slots=True)
class Message:
    id: str
    role: Role
    parts: list[Part] = field(default_factory=list)
    status: ItemStatus = "completed"

    def show(self, with_audio: bool = False) -> Event:
        return {
            "id": self.id,
            "object": "realtime.item",
            "type": "message",
            "status": self.status,
            "role": self.role,
            "content": [part.show(with_audio) for part in self.parts],
        }


@dataclass(slots=True)
class Call:
    """A call of a function of the client."""

    id: str
    call_id: str
    name: str
    arguments: str = ""
    status: ItemStatus = "completed"

    def show(self, with_audio: bool = False) -> Event:
        return {
            "id": self.id,
            "object": "realtime.item",
            "type": "function_call",
            "status": self.status,
            "call_id": self.call_id,
            "name": self.name,
            "arguments": self.arguments,
        }


@dataclass(slots=True)
class CallOutput:
    id: str
    call_id: str
    output: str
    status: ItemStatus = "completed"

    def show(self, with_audio: bool = False) -> Event:
        return {
            "id": self.id,
            "object": "realtime.item",
            "type": "function_call_output",
            "status": self.status,
            "call_id": self.call_id,
            "output": self.output,
        }


Item = Message | Call | CallOutput


def kept_bytes(item: Item) -> int:
    """Memory of the item's sound, images and text."""
    match item:
        case Message():
            return sum(_part_bytes(part) for part in item.parts)
        case Call():
            return getsizeof(item.arguments)
        case CallOutput():
            return getsizeof(item.output)


def _part_bytes(part: Part) -> int:
    match part:
        case HeardPart():
            return part.sound.samples.nbytes + getsizeof(part.transcript)
        case ImagePart():
            return part.image.pixels.nbytes
        case SpokenPart():
            heard = 0 if part.sound is None else 2 * part.sound.samples
            return getsizeof(part.transcript) + getsizeof(part.generated) + heard
        case TextPart():
            return getsizeof(part.text) + getsizeof(part.generated)
