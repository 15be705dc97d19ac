"""Messages and their parts, as clients of OpenAI, vLLM and DashScope write them.

Every string and list is bounded. Nothing is fetched, decoded or rendered here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from antiphon_server.openai_api.base import (
    ApiModel,
    Flag,
    Fps,
    FrameCount,
    Location,
    Name,
    PixelOptions,
    Text,
    TotalPixels,
)
from antiphon_server.openai_api.limits import MAX_MESSAGES, MAX_PARTS, MAX_TOOL_CALLS, MAX_VIDEO_FRAMES


class TextPart(ApiModel):
    ignored = frozenset({"cache_control", "annotations"})
    type: Literal["text"]
    text: Text


class RefusalPart(ApiModel):
    type: Literal["refusal"]
    refusal: Text


class FileId(ApiModel):
    """A file that was uploaded with the same API key."""

    ignored = frozenset({"filename", "detail", "format"})
    file_id: Name


def _with_inner_id(part: Any) -> Any:
    """Accepts `"file_id"` beside `"type"` too, as short for `{TYPE: {"file_id": …}}`."""
    if not isinstance(part, dict) or part.get("file_id") is None or part.get(part.get("type")) is not None:
        return part
    return {name: value for name, value in part.items() if name != "file_id"} | {
        part["type"]: {"file_id": part["file_id"]}
    }


class FilePart(ApiModel):
    """An uploaded file: audio, an image or a video, by its format."""

    ignored = frozenset({"cache_control", "uuid"})
    type: Literal["file"]
    file: FileId
    _move_id = model_validator(mode="before")(_with_inner_id)


def _located(given: Any) -> Any:
    """Accepts `"image_url": "…"`, as vLLM does, as short for `{"url": "…"}`."""
    return {"url": given} if isinstance(given, str) else given


def _place_kind(given: Any) -> str:
    is_file = "file_id" in given if isinstance(given, dict) else isinstance(given, FileId)
    return "by file" if is_file else "by value"


_ByFile = Annotated[FileId, Tag("by file")]
_Place = Discriminator(_place_kind)


class ImageLocation(ApiModel):
    ignored = frozenset({"detail"})
    url: Location


class ImagePart(PixelOptions):
    ignored = frozenset({"cache_control", "uuid"})
    type: Literal["image_url"]
    image_url: Annotated[
        Annotated[ImageLocation, Tag("by value")] | _ByFile, _Place, BeforeValidator(_located)
    ]
    _move_id = model_validator(mode="before")(_with_inner_id)


class InputAudio(ApiModel):
    """`data`: base64 (OpenAI), or a data URL or URL (DashScope). `format` is accepted and ignored."""

    data: Location
    format: Name | None = None


class InputAudioPart(ApiModel):
    ignored = frozenset({"cache_control", "uuid"})
    type: Literal["input_audio"]
    input_audio: Annotated[Annotated[InputAudio, Tag("by value")] | _ByFile, _Place]
    _move_id = model_validator(mode="before")(_with_inner_id)


class UrlLocation(ApiModel):
    url: Location


_UrlOrFile = Annotated[Annotated[UrlLocation, Tag("by value")] | _ByFile, _Place, BeforeValidator(_located)]


class AudioUrlPart(ApiModel):
    ignored = frozenset({"cache_control", "uuid"})
    type: Literal["audio_url"]
    audio_url: _UrlOrFile
    _move_id = model_validator(mode="before")(_with_inner_id)


class _VideoOptions(PixelOptions):
    """DashScope's options of a video part. They can lower the server's limits, never raise them.

    `total_pixels`: of the video, counted per pair of frames as in Qwen's utilities; frames are scaled to it.
    """

    ignored = frozenset({"cache_control", "uuid"})
    fps: Fps | None = None
    total_pixels: TotalPixels | None = None
    max_frames: FrameCount | None = None
    use_audio_in_video: Flag | None = None


class VideoUrlPart(_VideoOptions):
    """`nframes`: exactly this number of frames, evenly spaced, instead of `fps`."""

    type: Literal["video_url"]
    video_url: _UrlOrFile
    nframes: FrameCount | None = None
    _move_id = model_validator(mode="before")(_with_inner_id)

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.nframes is not None and self.fps is not None:
            raise ValueError("fps and nframes exclude each other")
        return self


class VideoFramesPart(_VideoOptions):
    type: Literal["video"]
    video: tuple[Location, ...] = Field(min_length=2, max_length=MAX_VIDEO_FRAMES)


UserPart = Annotated[
    TextPart | ImagePart | InputAudioPart | AudioUrlPart | VideoUrlPart | VideoFramesPart | FilePart,
    Field(discriminator="type"),
]
# What a function returned, such as a picture of the screen.
ToolPart = Annotated[TextPart | ImagePart, Field(discriminator="type")]
AssistantPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]


def _content_kind(content: Any) -> str:
    return "text" if isinstance(content, str) else "parts"


_Content = Discriminator(_content_kind)
UserContent = Annotated[
    Annotated[Text, Tag("text")]
    | Annotated[tuple[UserPart, ...], Field(min_length=1, max_length=MAX_PARTS), Tag("parts")],
    _Content,
]
TextContent = Annotated[
    Annotated[Text, Tag("text")]
    | Annotated[tuple[TextPart, ...], Field(min_length=1, max_length=MAX_PARTS), Tag("parts")],
    _Content,
]
ToolContent = Annotated[
    Annotated[Text, Tag("text")]
    | Annotated[tuple[ToolPart, ...], Field(min_length=1, max_length=MAX_PARTS), Tag("parts")],
    _Content,
]
AssistantContent = Annotated[
    Annotated[Text, Tag("text")]
    | Annotated[tuple[AssistantPart, ...], Field(max_length=MAX_PARTS), Tag("parts")],
    _Content,
]


class SystemMessage(ApiModel):
    ignored = frozenset({"name", "cache_control"})
    role: Literal["system", "developer"]
    content: TextContent


class UserMessage(ApiModel):
    ignored = frozenset({"name", "cache_control"})
    role: Literal["user"]
    content: UserContent


class CalledFunction(ApiModel):
    name: Name
    arguments: Text


class ToolCall(ApiModel):
    ignored = frozenset({"index"})
    id: Name
    type: Literal["function"] = "function"
    function: CalledFunction


class SpokenAnswer(ApiModel):
    """An earlier spoken answer: by `id`, or with its `transcript` if the client still has it."""

    ignored = frozenset({"data", "expires_at"})
    id: Name
    transcript: Text | None = None


class AssistantMessage(ApiModel):
    """`reasoning`: an earlier answer's, or `reasoning_content`, its alias. The chat template may use it."""

    ignored = frozenset(
        {"name", "refusal", "annotations", "cache_control", "reasoning_details", "extra_content"}
    )
    role: Literal["assistant"]
    content: AssistantContent | None = None
    reasoning: Text | None = None
    reasoning_content: Text | None = None
    audio: SpokenAnswer | None = None
    tool_calls: tuple[ToolCall, ...] = Field(default=(), max_length=MAX_TOOL_CALLS)


class ToolMessage(ApiModel):
    ignored = frozenset({"name", "cache_control"})
    role: Literal["tool"]
    tool_call_id: Name
    content: ToolContent


Message = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage,
    Field(discriminator="role"),
]
Messages = Annotated[tuple[Message, ...], Field(min_length=1, max_length=MAX_MESSAGES)]
