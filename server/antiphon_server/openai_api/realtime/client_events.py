"""The events of a realtime client, and the parser of one text frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError
from pydantic_core import from_json

from antiphon_server.errors import ApiError, BadRequest
from antiphon_server.openai_api import limits
from antiphon_server.openai_api.base import ApiModel, Location, Name, Text
from antiphon_server.openai_api.options import VoiceId
from antiphon_server.openai_api.realtime.items import ClientItem, InputItem, ItemId
from antiphon_server.openai_api.realtime.session import (
    Modalities,
    OutputFormat,
    TokenLimit,
    ToolChoice,
    Tools,
)
from antiphon_server.openai_api.validation_errors import to_bad_request

EventId = Annotated[str, StringConstraints(max_length=512)]
_SHOWN_CHARS = 64


class ClientEvent(ApiModel):
    """An error that the event causes repeats its `event_id`."""

    event_id: EventId | None = None


class SessionUpdate(ClientEvent):
    """`session`: the fields to change, which are checked together with those that stay."""

    type: Literal["session.update"]
    session: dict[str, Any]


class AudioAppend(ClientEvent):
    type: Literal["input_audio_buffer.append"]
    audio: Location


class AudioCommit(ClientEvent):
    type: Literal["input_audio_buffer.commit"]


class AudioClear(ClientEvent):
    type: Literal["input_audio_buffer.clear"]


class ItemCreate(ClientEvent):
    """`previous_item_id`: "root" puts the item first; without it, it becomes the last."""

    type: Literal["conversation.item.create"]
    item: ClientItem
    previous_item_id: ItemId | None = None


class ItemRetrieve(ClientEvent):
    type: Literal["conversation.item.retrieve"]
    item_id: ItemId


class ItemDelete(ClientEvent):
    type: Literal["conversation.item.delete"]
    item_id: ItemId


class ItemTruncate(ClientEvent):
    type: Literal["conversation.item.truncate"]
    item_id: ItemId
    content_index: Annotated[int, Field(ge=0, le=limits.MAX_PARTS)] = 0
    audio_end_ms: Annotated[int, Field(ge=0, le=86_400_000)]


class ResponseAudioOutput(ApiModel):
    ignored = frozenset({"speed"})
    format: OutputFormat | None = None
    voice: Name | VoiceId | None = None


class ResponseAudio(ApiModel):
    output: ResponseAudioOutput = ResponseAudioOutput()


MetadataKey = Annotated[str, StringConstraints(max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)]


class ResponseParams(ApiModel):
    """What one response changes of the session. `input`: in place of the conversation's items."""

    ignored = frozenset({"prompt", "reasoning", "parallel_tool_calls"})
    conversation: Literal["auto", "none"] = "auto"
    instructions: Text | None = None
    output_modalities: Modalities | None = None
    audio: ResponseAudio = ResponseAudio()
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    max_output_tokens: TokenLimit | None = None
    metadata: Metadata | None = None
    input: Annotated[tuple[InputItem, ...], Field(max_length=limits.MAX_MESSAGES)] | None = None


class ResponseCreate(ClientEvent):
    type: Literal["response.create"]
    response: ResponseParams = ResponseParams()


class ResponseCancel(ClientEvent):
    type: Literal["response.cancel"]
    response_id: Name | None = None


class OutputAudioClear(ClientEvent):
    type: Literal["output_audio_buffer.clear"]


_EVENTS: dict[str, type[ClientEvent]] = {
    "session.update": SessionUpdate,
    "input_audio_buffer.append": AudioAppend,
    "input_audio_buffer.commit": AudioCommit,
    "input_audio_buffer.clear": AudioClear,
    "conversation.item.create": ItemCreate,
    "conversation.item.retrieve": ItemRetrieve,
    "conversation.item.delete": ItemDelete,
    "conversation.item.truncate": ItemTruncate,
    "response.create": ResponseCreate,
    "response.cancel": ResponseCancel,
    "output_audio_buffer.clear": OutputAudioClear,
}
EVENT_TYPES = tuple(_EVENTS)


class RefusedEvent(Exception):
    """An event that is not valid. `event_id`: of the event, if it has one that can be read."""

    def __init__(self, error: ApiError, event_id: str | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.event_id = event_id


def parse_client_event(text: str, depth: int, nodes: int) -> ClientEvent:
    """Raises RefusedEvent. `depth`, `nodes`: limits on the JSON of all events but audio."""
    data = _read_json(text)
    given = data.get("event_id")
    event_id = given if isinstance(given, str) and len(given) <= 512 else None
    kind = data.get("type")
    model = _EVENTS.get(kind) if isinstance(kind, str) else None
    try:
        if model is None:
            raise _unknown(kind)
        if model is not AudioAppend:
            _check_shape(data, depth, nodes)
        return model.model_validate(data)
    except ValidationError as error:
        raise RefusedEvent(to_bad_request(error, data, model or ClientEvent), event_id) from None
    except ApiError as error:
        raise RefusedEvent(error, event_id) from None


def _read_json(text: str) -> dict[str, Any]:
    try:
        data = from_json(text, allow_inf_nan=False)
    except ValueError:
        raise RefusedEvent(BadRequest("The event is not valid JSON.", code="invalid_json")) from None
    if not isinstance(data, dict):
        raise RefusedEvent(BadRequest("The event must be a JSON object.", code="invalid_json"))
    return data


def _unknown(kind: Any) -> BadRequest:
    if not isinstance(kind, str):
        code = "missing_required_parameter"
        return BadRequest("Missing required parameter: 'type'.", param="type", code=code)
    shown = "".join(c for c in kind[:_SHOWN_CHARS] if c.isprintable())
    return BadRequest(
        f"Invalid value: '{shown}'. Supported events are: {', '.join(EVENT_TYPES)}.", param="type"
    )


def _check_shape(data: dict[str, Any], depth: int, nodes: int) -> None:
    """As the limits on a body's JSON. Raises BadRequest."""
    level: list[Any] = [data]
    for _ in range(depth):
        level = [inner for value in level for inner in _children(value)]
        nodes -= len(level)
        if nodes < 0:
            raise BadRequest("The event has too many values.", code="json_too_large")
        if not level:
            return
    raise BadRequest("The event is nested too deep.", code="json_too_deep")


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value
