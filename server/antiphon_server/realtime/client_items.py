"""Items that a client sends, checked and with their audio decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pybase64

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ, RgbImage
from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.realtime import items as wire
from antiphon_server.openai_api.realtime.session import InputFormat
from antiphon_server.realtime.audio.sample_formats import InputDecoder
from antiphon_server.realtime.audio.sound import Samples, heard_sound
from antiphon_server.realtime.event_writer import MakeId
from antiphon_server.realtime.items import (
    Call,
    CallOutput,
    HeardPart,
    ImagePart,
    Item,
    Message,
    Part,
    SpokenPart,
    TextPart,
)

# The audio tower needs a few frames.
_LEAST_S = 0.1


def decode_base64(text: str, param: str) -> bytes:
    """Raises BadRequest."""
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError:
        raise BadRequest(f"Invalid value for '{param}': it is not base64.", param=param) from None


def image_urls(item: wire.ClientItem | wire.InputItem) -> list[str]:
    """The data URLs of an item's images, in the order in which `ItemReader` needs them."""
    if not isinstance(item, wire.UserMessage):
        return []
    return [part.image_url for part in item.content if isinstance(part, wire.InputImage)]


def sounds_in(item: wire.ClientItem | wire.InputItem) -> list[str]:
    """Base64 of an item's audio, in the order of its parts."""
    if not isinstance(item, wire.UserMessage):
        return []
    return [part.audio for part in item.content if isinstance(part, wire.InputAudio)]


def decode_sound(encoded: str, input_format: InputFormat, param: str) -> Samples:
    """Raises BadRequest."""
    return np.ascontiguousarray(InputDecoder(input_format).decode(decode_base64(encoded, param)))


@dataclass(frozen=True, slots=True)
class EventMedia:
    """Decoded media of one event, in the order of its parts. `sounds`: none if they were not decoded yet."""

    images: Sequence[RgbImage] = ()
    sounds: Sequence[Samples] = ()


NO_MEDIA = EventMedia()


class ItemReader:
    """Makes items of what a client sends."""

    def __init__(self, make_id: MakeId, input_format: InputFormat, owner: str, media: EventMedia) -> None:
        self._make_id = make_id
        self._format = input_format
        self._owner = owner
        self._images = iter(media.images)
        self._sounds = iter(media.sounds)

    def read(self, item: wire.ClientItem, param: str) -> Item:
        """Raises BadRequest, naming `param`."""
        item_id = item.id or self._make_id("item")
        match item:
            case wire.UserMessage():
                parts = [
                    self._user_part(part, f"{param}.content[{n}]") for n, part in enumerate(item.content)
                ]
                return Message(item_id, "user", parts)
            case wire.SystemMessage():
                return Message(item_id, "system", [TextPart(part.text) for part in item.content])
            case wire.AssistantMessage():
                return Message(item_id, "assistant", [_answer_part(part) for part in item.content])
            case wire.FunctionCall():
                call_id = item.call_id or self._make_id("call")
                return Call(item_id, call_id, item.name, item.arguments)
            case wire.FunctionCallOutput():
                return CallOutput(item_id, item.call_id, item.output)

    def _user_part(self, part: wire.UserPart, param: str) -> Part:
        match part:
            case wire.InputText():
                return TextPart(part.text)
            case wire.InputImage():
                return ImagePart(next(self._images))
            case wire.InputAudio():
                return HeardPart(heard_sound(self._samples(part, param), self._owner), part.transcript)

    def _samples(self, part: wire.InputAudio, param: str) -> Samples:
        param = f"{param}.audio"
        samples = next(self._sounds, None)
        if samples is None:
            samples = decode_sound(part.audio, self._format, param)
        if len(samples) < _LEAST_S * INPUT_SAMPLE_RATE_HZ:
            raise BadRequest(f"Invalid value for '{param}': it has less than 100 ms of audio.", param=param)
        return samples


def _answer_part(part: wire.AssistantPart) -> Part:
    if isinstance(part, wire.OutputText):
        return TextPart(part.text, is_output=True)
    return SpokenPart(part.transcript)
