"""Items that a client adds to a realtime conversation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag

from antiphon_server.openai_api import limits
from antiphon_server.openai_api.base import ApiModel, Location, Name, Text

# OpenAI's own limit is 32 characters; agents-js makes longer ids.
ItemId = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$")]


class InputText(ApiModel):
    type: Literal["input_text"]
    text: Text


class InputAudio(ApiModel):
    """`audio`: base64, in the session's input format. The model hears it and does not read `transcript`."""

    type: Literal["input_audio"]
    audio: Location
    transcript: Text | None = None


class InputImage(ApiModel):
    """`image_url`: a data URL."""

    ignored = frozenset({"detail"})
    type: Literal["input_image"]
    image_url: Annotated[Location, StringConstraints(pattern=r"^data:")]


class OutputText(ApiModel):
    ignored = frozenset({"annotations"})
    type: Literal["output_text"]
    text: Text


class OutputAudio(ApiModel):
    """An earlier spoken answer by its `transcript`. Its sound cannot be sent."""

    type: Literal["output_audio"]
    transcript: Text


UserPart = Annotated[InputText | InputAudio | InputImage, Field(discriminator="type")]
AssistantPart = Annotated[OutputText | OutputAudio, Field(discriminator="type")]


class _Item(ApiModel):
    ignored = frozenset({"object", "status"})
    id: ItemId | None = None


class UserMessage(_Item):
    type: Literal["message"]
    role: Literal["user"]
    content: Annotated[tuple[UserPart, ...], Field(min_length=1, max_length=limits.MAX_PARTS)]


class SystemMessage(_Item):
    type: Literal["message"]
    role: Literal["system"]
    content: Annotated[tuple[InputText, ...], Field(min_length=1, max_length=limits.MAX_PARTS)]


class AssistantMessage(_Item):
    type: Literal["message"]
    role: Literal["assistant"]
    content: Annotated[tuple[AssistantPart, ...], Field(min_length=1, max_length=limits.MAX_PARTS)]


class FunctionCall(_Item):
    type: Literal["function_call"]
    name: Name
    arguments: Text
    call_id: Name | None = None


class FunctionCallOutput(_Item):
    type: Literal["function_call_output"]
    call_id: Name
    output: Text


class ItemReference(ApiModel):
    """An item of the conversation, as input of one response."""

    type: Literal["item_reference"]
    id: ItemId


def _kind(item: Any) -> str | None:
    kind = item.get("type") if isinstance(item, dict) else getattr(item, "type", None)
    if kind != "message":
        return kind if isinstance(kind, str) else None
    role = item.get("role") if isinstance(item, dict) else getattr(item, "role", None)
    return role if isinstance(role, str) else None


_Message = (
    Annotated[UserMessage, Tag("user")]
    | Annotated[SystemMessage, Tag("system")]
    | Annotated[AssistantMessage, Tag("assistant")]
)
_Call = (
    Annotated[FunctionCall, Tag("function_call")] | Annotated[FunctionCallOutput, Tag("function_call_output")]
)
_KINDS = "'user', 'system' or 'assistant' (role of a message), 'function_call' or 'function_call_output'"
_by_kind = Discriminator(
    _kind,
    custom_error_type="item_kind",
    custom_error_message=f"the item must be {_KINDS}",
)
ClientItem = Annotated[_Message | _Call, _by_kind]
InputItem = Annotated[_Message | _Call | Annotated[ItemReference, Tag("item_reference")], _by_kind]
