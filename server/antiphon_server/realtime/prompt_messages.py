"""What the model is shown of a conversation: messages for the chat template, and their media in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from antiphon_executor.interface.media import AudioClip, KnownClip, Media, RgbImage, StoredClip
from antiphon_server.chat.prompt.conversation import Conversation, TemplateMessage
from antiphon_server.errors import BadRequest
from antiphon_server.media.source import MediaSource
from antiphon_server.openai_api.client_json import ClientJson
from antiphon_server.openai_api.options import Tool
from antiphon_server.realtime.items import (
    Call,
    CallOutput,
    HeardPart,
    ImagePart,
    Item,
    Message,
    SpokenPart,
    TextPart,
)


def read_items(
    instructions: str, items: Iterable[Item], tools: Sequence[Tool], client_json: ClientJson
) -> Conversation:
    """Answers count as far as they were heard. What is still generated is left out, and so are cut calls.

    Raises BadRequest if the arguments of a call exceed the limits of JSON.
    """
    shown = _Shown(client_json)
    if instructions:
        shown.messages.append({"role": "system", "content": instructions})
    for item in items:
        is_cut_call = isinstance(item, Call) and item.status == "incomplete"
        if item.status != "in_progress" and not is_cut_call:
            shown.add(item)
    if not shown.messages:
        raise BadRequest("The conversation has no items to answer.", code="empty_conversation")
    return Conversation(
        tuple(shown.messages),
        tuple(tool.model_dump(mode="json", exclude_unset=True) for tool in tools),
        tuple(shown.sources),
        media=Media(audios=tuple(shown.audios), images=tuple(shown.images)),
        generated=shown.generated,
    )


class _Shown:
    def __init__(self, client_json: ClientJson) -> None:
        self._client_json = client_json
        self.messages: list[TemplateMessage] = []
        self.sources: list[MediaSource] = []
        self.audios: list[AudioClip | StoredClip | KnownClip] = []
        self.images: list[RgbImage] = []
        self.generated: dict[int, tuple[int, ...]] = {}

    def add(self, item: Item) -> None:
        match item:
            case Message(role="assistant"):
                text = "".join(_answer_text(part) for part in item.parts)
                if text:
                    self._keep_tokens(item)
                    self.messages.append({"role": "assistant", "content": text})
            case Message():
                self._add_message(item)
            case Call():
                self._add_call(item)
            case CallOutput():
                self.messages.append({"role": "tool", "content": item.output, "tool_call_id": item.call_id})

    def _keep_tokens(self, message: Message) -> None:
        """Of an answer that becomes the next message."""
        part = message.parts[0]
        if len(message.parts) == 1 and isinstance(part, TextPart | SpokenPart) and (ids := part.token_ids):
            self.generated[len(self.messages)] = ids

    def _add_message(self, message: Message) -> None:
        if all(isinstance(part, TextPart) for part in message.parts):
            text = "".join(_answer_text(part) for part in message.parts)
            self.messages.append({"role": message.role, "content": text})
            return
        content: list[dict[str, str]] = []
        for part in message.parts:
            match part:
                case HeardPart():
                    content.append({"type": "audio"})
                    self.sources.append(MediaSource("audio", (), message.id))
                    self.audios.append(part.sound.next_clip())
                case ImagePart():
                    content.append({"type": "image"})
                    self.sources.append(MediaSource("image", (), message.id))
                    self.images.append(part.image)
                case _:
                    content.append({"type": "text", "text": _answer_text(part)})
        self.messages.append({"role": message.role, "content": content})

    def _add_call(self, call: Call) -> None:
        """Calls belong to the message of the assistant before them."""
        parsed = self._client_json.parse(call.arguments, call.id)
        arguments = parsed if isinstance(parsed, dict) else call.arguments
        made: dict[str, Any] = {
            "id": call.call_id,
            "type": "function",
            "function": {"name": call.name, "arguments": arguments},
        }
        if not self.messages or self.messages[-1]["role"] != "assistant":
            self.messages.append({"role": "assistant", "content": ""})
        self.messages[-1].setdefault("tool_calls", []).append(made)


def _answer_text(part: object) -> str:
    match part:
        case TextPart():
            return part.text
        case SpokenPart():
            return part.heard_text
        case _:
            return ""


def without_oldest_turns(items: Sequence[Item], kept: float) -> tuple[Item, ...]:
    """The newest `kept` of the turns of the user, at least one and at least one less; all if there is one."""
    turns = [number for number, item in enumerate(items) if isinstance(item, Message) and item.role == "user"]
    if len(turns) < 2:
        return tuple(items)
    newest = max(min(int(len(turns) * kept), len(turns) - 1), 1)
    return tuple(items[turns[-newest] :])
