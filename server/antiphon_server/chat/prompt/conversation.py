"""Conversation of a chat request: its messages as chat templates expect them, and its media in order.

Pure: nothing is fetched, decoded or rendered here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from antiphon_executor.interface.media import Media
from antiphon_server.chat.prompt.media_sources import FindFile, find_no_file, read_sources
from antiphon_server.errors import BadRequest
from antiphon_server.media.source import MediaKind, MediaSource
from antiphon_server.openai_api.client_json import ClientJson
from antiphon_server.openai_api.messages import (
    AssistantMessage,
    Message,
    RefusalPart,
    TextPart,
    ToolCall,
    ToolMessage,
    ToolPart,
    UserMessage,
    UserPart,
)
from antiphon_server.openai_api.options import NamedToolChoice
from antiphon_server.openai_api.request import ChatRequest

TemplateMessage = dict[str, Any]
TranscriptOf = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Conversation:
    """`messages` and `tools`: plain JSON for the template. `sources`: in the order of their parts.

    `thinking`: the template's variable `enable_thinking`; None: the template's default. `is_open`: the answer
    continues the last message. `media`: those of `sources`, if they are decoded already. `generated`: by the
    number of a message, the tokens of its content as the model has generated them.
    """

    messages: tuple[TemplateMessage, ...]
    tools: tuple[dict[str, Any], ...]
    sources: tuple[MediaSource, ...]
    thinking: bool | None = None
    is_open: bool = False
    media: Media | None = None
    generated: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def text_chars(self) -> int:
        return sum(_count_chars(message) for message in self.messages) + _count_chars(list(self.tools))


def read_conversation(
    request: ChatRequest,
    transcript_of: TranscriptOf,
    client_json: ClientJson,
    find_file: FindFile = find_no_file,
) -> Conversation:
    """Raises BadRequest if a spoken answer has expired or tool arguments exceed the JSON limits, NotFound for
    a file that the client does not have.
    """
    sources: list[MediaSource] = []
    messages = []
    for number, message in enumerate(request.messages):
        param = f"messages[{number}]"
        kinds: list[MediaKind] = []
        if isinstance(message, UserMessage | ToolMessage):
            own = read_sources(message, param, request.media_options, find_file)
            kinds = [source.kind for source in own]
            sources += own
        messages.append(_read_message(message, param, transcript_of, client_json, kinds))
    # A choice of one function changes the answer's schema, not the prompt.
    named = isinstance(request.tool_choice, NamedToolChoice)
    tools = request.tools if named else [tool for _, tool in request.callable_tools]
    dumped = tuple(tool.model_dump(mode="json", exclude_unset=True) for tool in tools)
    if request.continue_final_message:
        _check_open(request.messages)
    return Conversation(tuple(messages), dumped, tuple(sources), is_open=request.continue_final_message)


def _check_open(messages: tuple[Message, ...]) -> None:
    last = messages[-1]
    is_text = isinstance(last, AssistantMessage) and last.content and not last.tool_calls and not last.audio
    if not is_text:
        raise BadRequest(
            "continue_final_message needs a last message of the assistant with text.",
            param=f"messages[{len(messages) - 1}]",
        )


def _read_message(
    message: Message,
    param: str,
    transcript_of: TranscriptOf,
    client_json: ClientJson,
    kinds: Sequence[MediaKind],
) -> TemplateMessage:
    """`kinds`: of the message's media parts, in order."""
    if isinstance(message, AssistantMessage):
        read = _read_assistant(message, param, transcript_of)
        if message.tool_calls:
            read["tool_calls"] = [
                _read_call(call, f"{param}.tool_calls[{number}]", client_json)
                for number, call in enumerate(message.tool_calls)
            ]
        return read
    role = "system" if message.role == "developer" else message.role
    read = {"role": role, "content": _read_content(message.content, kinds)}
    if isinstance(message, ToolMessage):
        read["tool_call_id"] = message.tool_call_id
    return read


def _read_content(
    content: str | tuple[UserPart, ...] | tuple[ToolPart, ...] | tuple[TextPart, ...],
    kinds: Sequence[MediaKind],
) -> str | list[dict[str, str]]:
    """One string if there is only text, because every template supports that."""
    if isinstance(content, str):
        return content
    if not kinds:
        return "".join(part.text for part in content if isinstance(part, TextPart))
    left = iter(kinds)
    return [
        {"type": "text", "text": part.text} if isinstance(part, TextPart) else {"type": next(left)}
        for part in content
    ]


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


def _count_chars(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(len(key) + _count_chars(inner) for key, inner in value.items())
    if isinstance(value, list):
        return sum(map(_count_chars, value))
    return 1
