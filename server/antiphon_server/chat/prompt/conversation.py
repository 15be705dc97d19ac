"""Conversation of a chat request: its messages as chat templates expect them, and its media in order.

Pure: nothing is fetched, decoded or rendered here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from antiphon_server.errors import BadRequest
from antiphon_server.media.source import MediaSource
from antiphon_server.openai_api.base import PixelOptions
from antiphon_server.openai_api.client_json import ClientJson
from antiphon_server.openai_api.messages import (
    AssistantMessage,
    AudioUrlPart,
    ImagePart,
    InputAudioPart,
    Message,
    RefusalPart,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
    UserPart,
    VideoFramesPart,
    VideoUrlPart,
)
from antiphon_server.openai_api.options import NamedToolChoice, ProcessorOptions
from antiphon_server.openai_api.request import ChatRequest

TemplateMessage = dict[str, Any]
TranscriptOf = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Conversation:
    """`messages` and `tools`: plain JSON for the template. `sources`: in the order of their parts.

    `thinking`: the template's variable `enable_thinking`; None: the template's default.
    """

    messages: tuple[TemplateMessage, ...]
    tools: tuple[dict[str, Any], ...]
    sources: tuple[MediaSource, ...]
    thinking: bool | None = None

    @property
    def text_chars(self) -> int:
        return sum(_count_chars(message) for message in self.messages) + _count_chars(list(self.tools))


def read_conversation(
    request: ChatRequest, transcript_of: TranscriptOf, client_json: ClientJson
) -> Conversation:
    """Raises BadRequest if a spoken answer has expired or tool arguments exceed the JSON limits."""
    sources: list[MediaSource] = []
    messages = []
    for number, message in enumerate(request.messages):
        param = f"messages[{number}]"
        if isinstance(message, UserMessage):
            sources += _read_sources(message, param, request.media_options)
        messages.append(_read_message(message, param, transcript_of, client_json))
    # A choice of one function changes the answer's schema, not the prompt.
    named = isinstance(request.tool_choice, NamedToolChoice)
    tools = request.tools if named else [tool for _, tool in request.callable_tools]
    dumped = tuple(tool.model_dump(mode="json", exclude_unset=True) for tool in tools)
    return Conversation(tuple(messages), dumped, tuple(sources))


def _read_message(
    message: Message, param: str, transcript_of: TranscriptOf, client_json: ClientJson
) -> TemplateMessage:
    if isinstance(message, AssistantMessage):
        read = _read_assistant(message, param, transcript_of)
        if message.tool_calls:
            read["tool_calls"] = [
                _read_call(call, f"{param}.tool_calls[{number}]", client_json)
                for number, call in enumerate(message.tool_calls)
            ]
        return read
    role = "system" if message.role == "developer" else message.role
    read = {"role": role, "content": _read_content(message.content)}
    if isinstance(message, ToolMessage):
        read["tool_call_id"] = message.tool_call_id
    return read


def _read_content(content: str | tuple[UserPart, ...] | tuple[TextPart, ...]) -> str | list[dict[str, str]]:
    """One string if there is only text, because every template supports that."""
    if isinstance(content, str):
        return content
    parts = [_read_part(part) for part in content]
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _read_part(part: UserPart) -> dict[str, str]:
    match part:
        case TextPart():
            return {"type": "text", "text": part.text}
        case ImagePart():
            return {"type": "image"}
        case InputAudioPart() | AudioUrlPart():
            return {"type": "audio"}
        case VideoUrlPart() | VideoFramesPart():
            return {"type": "video"}


def _read_assistant(message: AssistantMessage, param: str, transcript_of: TranscriptOf) -> TemplateMessage:
    text = ""
    if isinstance(message.content, str):
        text = message.content
    elif message.content:
        text = "".join(p.refusal if isinstance(p, RefusalPart) else p.text for p in message.content)
    if message.audio is not None and not text:
        spoken = message.audio.transcript or transcript_of(message.audio.id)
        if spoken is None:
            raise BadRequest(
                "This spoken answer is unknown or has expired.",
                param=f"{param}.audio.id",
                code="audio_not_found",
                hint="Send its transcript as the message's content.",
            )
        text = spoken
    if not (text or message.tool_calls or message.content is not None or message.audio):
        raise BadRequest("An assistant message needs content, audio or tool_calls.", param=f"{param}.content")
    reasoning = message.reasoning if message.reasoning is not None else message.reasoning_content
    # The name that the templates of models that think use.
    reasoned = {} if reasoning is None else {"reasoning_content": reasoning}
    return {"role": "assistant", "content": text, **reasoned}


def _read_call(call: ToolCall, param: str, client_json: ClientJson) -> dict[str, Any]:
    """Arguments that are a JSON object become one, because templates print objects in their own way."""
    arguments = client_json.parse(call.function.arguments, f"{param}.function.arguments")
    function = {
        "name": call.function.name,
        "arguments": arguments if isinstance(arguments, dict) else call.function.arguments,
    }
    return {"id": call.id, "type": "function", "function": function}


def _read_sources(message: UserMessage, param: str, options: ProcessorOptions) -> list[MediaSource]:
    if isinstance(message.content, str):
        return []
    sources = (
        _read_source(part, f"{param}.content[{number}]", options)
        for number, part in enumerate(message.content)
    )
    return [source for source in sources if source is not None]


def _read_source(part: UserPart, param: str, options: ProcessorOptions) -> MediaSource | None:
    match part:
        case ImagePart():
            low, high = _pixel_bounds(part, options)
            return MediaSource("image", (part.image_url.url,), param, min_pixels=low, max_pixels=high)
        case InputAudioPart():
            return MediaSource("audio", (part.input_audio.data,), param)
        case AudioUrlPart():
            return MediaSource("audio", (part.audio_url.url,), param)
        case VideoUrlPart():
            return _video_source(part, (part.video_url.url,), param, options)
        case VideoFramesPart():
            return _video_source(part, part.video, param, options)
        case TextPart():
            return None


def _video_source(
    part: VideoUrlPart | VideoFramesPart,
    locations: tuple[str, ...],
    param: str,
    options: ProcessorOptions,
) -> MediaSource:
    hears = options.use_audio_in_video if part.use_audio_in_video is None else part.use_audio_in_video
    low, high = _pixel_bounds(part, options)
    fps, frames = _frame_rate(part, options)
    return MediaSource(
        "video",
        locations,
        param,
        is_frame_list=isinstance(part, VideoFramesPart),
        use_audio=hears is not False,
        fps=fps,
        min_pixels=low,
        max_pixels=high,
        total_pixels=part.total_pixels or options.total_pixels,
        max_frames=part.max_frames,
        frames=frames,
    )


def _frame_rate(
    part: VideoUrlPart | VideoFramesPart, options: ProcessorOptions
) -> tuple[float | None, int | None]:
    """A part's own `fps` or `nframes` replaces both of the request's. A list of frames has its own number."""
    if isinstance(part, VideoFramesPart):
        return part.fps or options.fps, None
    owner = options if part.fps is None and part.nframes is None else part
    return owner.fps, owner.nframes


def _pixel_bounds(part: PixelOptions, options: ProcessorOptions) -> tuple[int | None, int | None]:
    """A part's own bounds replace both of the request's: one of each could contradict the other."""
    owner: PixelOptions = options if part.min_pixels is None and part.max_pixels is None else part
    return owner.min_pixels, owner.max_pixels


def _count_chars(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(len(key) + _count_chars(inner) for key, inner in value.items())
    if isinstance(value, list):
        return sum(map(_count_chars, value))
    return 1
