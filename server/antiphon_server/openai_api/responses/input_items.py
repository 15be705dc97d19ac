"""Input items of a response: messages, function calls, their outputs, and earlier reasoning."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from antiphon_server.openai_api.base import ApiModel, Location, Name, Text
from antiphon_server.openai_api.limits import MAX_MESSAGES, MAX_PARTS
from antiphon_server.openai_api.messages import InputAudioPart, RefusalPart


class InputText(ApiModel):
    ignored = frozenset({"prompt_cache_breakpoint", "annotations", "logprobs"})
    type: Literal["input_text", "output_text"]
    text: Text


class InputImage(ApiModel):
    """`image_url`: a data URL, or a URL if the server fetches them. `file_id`: of an uploaded file."""

    ignored = frozenset({"prompt_cache_breakpoint", "detail"})
    type: Literal["input_image"]
    image_url: Location | None = None
    file_id: Name | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.image_url is None) is (self.file_id is None):
            raise ValueError("it needs either image_url or file_id")
        return self


class InputFile(ApiModel):
    """An uploaded file: audio, an image or a video, by its format."""

    ignored = frozenset({"prompt_cache_breakpoint", "detail", "filename"})
    type: Literal["input_file"]
    file_id: Name


class SpokenPart(ApiModel):
    """Ours: the speech of an earlier answer, sent back. Its `transcript` is read, or else found by `id`."""

    ignored = frozenset({"data", "format", "expires_at", "words"})
    type: Literal["output_audio"]
    id: Name
    transcript: Text | None = None


def _content_kind(content: Any) -> str:
    return "text" if isinstance(content, str) else "parts"


_Content = Discriminator(_content_kind)
_Parts = Field(min_length=1, max_length=MAX_PARTS)
UserPart = Annotated[InputText | InputImage | InputAudioPart | InputFile, Field(discriminator="type")]
OutputPart = Annotated[InputText | InputImage, Field(discriminator="type")]
AssistantPart = Annotated[InputText | RefusalPart | SpokenPart, Field(discriminator="type")]
UserContent = Annotated[
    Annotated[Text, Tag("text")] | Annotated[tuple[UserPart, ...], _Parts, Tag("parts")], _Content
]
TextContent = Annotated[
    Annotated[Text, Tag("text")] | Annotated[tuple[InputText, ...], _Parts, Tag("parts")], _Content
]
OutputContent = Annotated[
    Annotated[Text, Tag("text")] | Annotated[tuple[OutputPart, ...], _Parts, Tag("parts")],
    _Content,
]
AssistantContent = Annotated[
    Annotated[Text, Tag("text")]
    | Annotated[tuple[AssistantPart, ...], Field(max_length=MAX_PARTS), Tag("parts")],
    _Content,
]


class _Item(ApiModel):
    """What an item of an earlier answer carries beside its content."""

    ignored = frozenset({"id", "status", "phase", "encrypted_content"})


class _Message(_Item):
    type: Literal["message"] = "message"


class UserItem(_Message):
    """`input_audio` parts are ours: `{"type": "input_audio", "input_audio": {"data", "format"}}`."""

    role: Literal["user"]
    content: UserContent


class SystemItem(_Message):
    role: Literal["system", "developer"]
    content: TextContent


class AssistantItem(_Message):
    role: Literal["assistant"]
    content: AssistantContent


class FunctionCallItem(_Item):
    neutral: ClassVar = {"caller": ({"type": "direct"},), "async": (False,)}
    type: Literal["function_call"]
    call_id: Name
    name: Name
    arguments: Text


class FunctionOutputItem(_Item):
    neutral: ClassVar = {"caller": ({"type": "direct"},)}
    type: Literal["function_call_output"]
    call_id: Name
    output: OutputContent


class ReasoningPart(ApiModel):
    type: Literal["reasoning_text", "summary_text"]
    text: Text


class ReasoningItem(_Item):
    """Reasoning of an earlier answer, which the chat template may use: `content`, or else `summary`."""

    type: Literal["reasoning"]
    content: tuple[ReasoningPart, ...] = Field(default=(), max_length=MAX_PARTS)
    summary: tuple[ReasoningPart, ...] = Field(default=(), max_length=MAX_PARTS)


_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_TYPES = ("message", "function_call", "function_call_output", "reasoning")


def _item_kind(item: Any) -> str:
    """A message may omit its type. An item that is none of the known ones is read as a user's message."""
    kind, role = _field(item, "type"), _field(item, "role")
    if kind in _TYPES[1:]:
        return str(kind)
    return _ROLES.get(role, "user") if isinstance(role, str) else "user"


def _field(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, dict) else getattr(item, name, None)


def _check_kind(item: Any) -> Any:
    kind, role = _field(item, "type"), _field(item, "role")
    if kind == "item_reference":
        raise ValueError("the server stores no items, so an item_reference cannot be found: send the item")
    if isinstance(item, dict) and kind is not None and kind not in _TYPES:
        raise ValueError(f"the supported types of items are {', '.join(_TYPES)}")
    is_role = isinstance(role, str) and role in _ROLES
    if isinstance(item, dict) and kind in (None, "message") and not is_role:
        raise ValueError(f"the role of a message must be one of {', '.join(_ROLES)}")
    return item


InputItem = Annotated[
    Annotated[UserItem, Tag("user")]
    | Annotated[AssistantItem, Tag("assistant")]
    | Annotated[SystemItem, Tag("system")]
    | Annotated[FunctionCallItem, Tag("function_call")]
    | Annotated[FunctionOutputItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")],
    Discriminator(_item_kind),
    BeforeValidator(_check_kind),
]
ResponseInput = Annotated[
    Annotated[Text, Tag("text")]
    | Annotated[tuple[InputItem, ...], Field(min_length=1, max_length=MAX_MESSAGES), Tag("items")],
    Discriminator(lambda given: "text" if isinstance(given, str) else "items"),
]
