"""Chat messages of a response's input items, with the name of the item that each was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from antiphon_server.openai_api.messages import (
    AssistantMessage,
    CalledFunction,
    FileId,
    FilePart,
    ImageLocation,
    ImagePart,
    InputAudioPart,
    Message,
    RefusalPart,
    SpokenAnswer,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    ToolPart,
    UserMessage,
    UserPart,
)
from antiphon_server.openai_api.responses.input_items import (
    AssistantItem,
    FunctionCallItem,
    FunctionOutputItem,
    InputFile,
    InputImage,
    InputItem,
    InputText,
    ReasoningItem,
    SpokenPart,
    SystemItem,
    UserItem,
)
from antiphon_server.openai_api.responses.request import ResponsesRequest


@dataclass(slots=True)
class InputMessages:
    """`names`: of the places in `messages` that errors can name, in the client's request."""

    messages: list[Message] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def add(self, message: Message, name: str) -> None:
        self.names[f"messages[{len(self.messages)}]"] = name
        self.messages.append(message)


def read_input(request: ResponsesRequest) -> InputMessages:
    """Reasoning, a message and calls that follow each other are one message of the assistant."""
    read = InputMessages()
    if request.instructions is not None:
        message = SystemMessage.model_construct(role="system", content=request.instructions)
        read.add(message, "instructions")
    if isinstance(request.input, str):
        read.add(UserMessage.model_construct(role="user", content=request.input), "input")
        return read
    turn = _AssistantTurn(read)
    for number, item in enumerate(request.input):
        name = f"input[{number}]"
        if isinstance(item, ReasoningItem | AssistantItem | FunctionCallItem):
            turn.add(item, name)
        else:
            turn.end()
            read.add(_message_of(item), name)
            if isinstance(item, FunctionOutputItem):
                read.names[f"messages[{len(read.messages) - 1}].content"] = f"{name}.output"
    turn.end()
    return read


def _message_of(item: InputItem) -> Message:
    match item:
        case UserItem():
            content = item.content
            user = content if isinstance(content, str) else tuple(_user_part(part) for part in content)
            return UserMessage.model_construct(role="user", content=user)
        case SystemItem():
            return SystemMessage.model_construct(role=item.role, content=_text_of(item.content))
        case FunctionOutputItem():
            output = item.output
            parts = output if isinstance(output, str) else tuple(_tool_part(part) for part in output)
            return ToolMessage.model_construct(role="tool", tool_call_id=item.call_id, content=parts)
        case _:
            raise TypeError(type(item))


def _user_part(part: InputText | InputImage | InputAudioPart | InputFile) -> UserPart:
    match part:
        case InputText() | InputImage():
            return _tool_part(part)
        case InputFile():
            return FilePart.model_construct(type="file", file=FileId.model_construct(file_id=part.file_id))
        case InputAudioPart():
            return part


def _tool_part(part: InputText | InputImage) -> ToolPart:
    if isinstance(part, InputText):
        return TextPart.model_construct(type="text", text=part.text)
    return ImagePart.model_construct(type="image_url", image_url=_place_of(part))


def _place_of(part: InputImage) -> ImageLocation | FileId:
    if part.file_id is not None:
        return FileId.model_construct(file_id=part.file_id)
    return ImageLocation.model_construct(url=part.image_url or "")


def _text_of(content: str | Sequence[InputText]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


class _AssistantTurn:
    """The message of the assistant that the latest items belong to."""

    def __init__(self, read: InputMessages) -> None:
        self._read = read
        self._clear()

    def _clear(self) -> None:
        self._name = ""
        self._reasoning = ""
        self._message: AssistantItem | None = None
        self._calls: list[ToolCall] = []

    def add(self, item: ReasoningItem | AssistantItem | FunctionCallItem, name: str) -> None:
        has_begun = self._message is not None or bool(self._calls)
        if has_begun and not isinstance(item, FunctionCallItem):
            self.end()
        match item:
            case ReasoningItem():
                self._reasoning += "".join(part.text for part in item.content or item.summary)
            case AssistantItem():
                self._message, self._name = item, name
            case FunctionCallItem():
                self._add_call(item, name)

    def end(self) -> None:
        """Writes the message. Reasoning that no answer follows is dropped."""
        if self._message is not None or self._calls:
            self._read.add(self._written(), self._name)
        self._clear()

    def _add_call(self, item: FunctionCallItem, name: str) -> None:
        self._name = self._name or name
        place = f"messages[{len(self._read.messages)}].tool_calls[{len(self._calls)}].function"
        self._read.names[place] = name
        function = CalledFunction.model_construct(name=item.name, arguments=item.arguments)
        self._calls.append(ToolCall.model_construct(id=item.call_id, type="function", function=function))

    def _written(self) -> AssistantMessage:
        content = self._message.content if self._message is not None else ""
        spoken = None
        if not isinstance(content, str):
            spoken = next((part for part in content if isinstance(part, SpokenPart)), None)
            content = "".join(_assistant_text(part) for part in content)
        return AssistantMessage.model_construct(
            role="assistant",
            content=content,
            reasoning=self._reasoning or None,
            audio=None if spoken is None else _spoken_answer(spoken),
            tool_calls=tuple(self._calls),
        )


def _assistant_text(part: InputText | RefusalPart | SpokenPart) -> str:
    match part:
        case InputText():
            return part.text
        case RefusalPart():
            return part.refusal
        case SpokenPart():
            return ""


def _spoken_answer(part: SpokenPart) -> SpokenAnswer:
    return SpokenAnswer.model_construct(id=part.id, transcript=part.transcript)
