"""Renderer of prompts: a conversation to token ids, with one placeholder token per media item.

The engine expands the placeholders. Text of a client never becomes a control token, be it a message, a tool
result, a name or a schema.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from antiphon_server.admission.fair_semaphore import FairSemaphore, SemaphoreLimits
from antiphon_server.chat.prompt.conversation import Conversation
from antiphon_server.chat.prompt.generated_answers import GeneratedAnswers
from antiphon_server.chat.prompt.raw_prompt import RawPrompt
from antiphon_server.chat.prompt.template import ChatTemplate
from antiphon_server.chat.prompt.tokenizer import EncodedText, PromptTokenizer
from antiphon_server.config.chat import PromptPolicy
from antiphon_server.errors import BadRequest
from antiphon_server.media.source import MediaKind

P = ParamSpec("P")
R = TypeVar("R")

# Characters or tokens. Longer prompts take milliseconds, which would block the event loop.
_SHORT_PROMPT = 4_000
# Of the whole checkpoint and of its Thinker; all are added tokens.
_CONTROL_IDS = frozenset(
    {"im_start_token_id", "im_end_token_id", "audio_token_id", "image_token_id", "video_token_id"}
)
# The last private-use characters of Unicode. Two of them mark a client's text during a rendering.
_MARKS = tuple(chr(0x10FFFD - number) for number in range(64))


class PromptTooLong(BadRequest):
    """The prompt without its media fills the model's context. `tokens`: a lower bound of its tokens."""

    def __init__(self, shown: str, tokens: int, context_tokens: int, param: str = "messages") -> None:
        super().__init__(
            f"The prompt has {shown} tokens without its media; the model's context is "
            f"{context_tokens} tokens.",
            param=param,
            code="context_length_exceeded",
        )
        self.tokens = tokens


class PromptRenderer:
    """Renders prompts with one checkpoint's template and tokenizer."""

    def __init__(
        self,
        template: ChatTemplate,
        tokenizer: PromptTokenizer,
        placeholders: dict[MediaKind, int],
        policy: PromptPolicy,
    ) -> None:
        self.template = template
        self._tokenizer = tokenizer
        self._placeholders = placeholders
        limits = SemaphoreLimits(policy.threads, 1, policy.queued_per_key, policy.wait_s)
        self._semaphore = FairSemaphore(limits, "rendering prompts")
        self._threads = ThreadPoolExecutor(policy.threads, "prompt")

    @classmethod
    def from_folder(cls, folder: Path, policy: PromptPolicy | None = None) -> PromptRenderer:
        """Reads `tokenizer.json` and the chat template. Raises OSError if one is missing.

        Raises ValueError if the tokenizer lacks a control token of `config.json`.
        """
        tokenizer = PromptTokenizer.from_folder(folder)
        _check_controls(folder / "config.json", tokenizer)
        placeholders = read_placeholders(folder, tokenizer)
        return cls(ChatTemplate.from_folder(folder), tokenizer, placeholders, policy or PromptPolicy())

    async def render(
        self, conversation: Conversation | RawPrompt, owner: str = "", context_tokens: int | None = None
    ) -> tuple[int, ...]:
        """The tokens of a prompt. Raises BadRequest, also as `PromptTooLong`."""
        if isinstance(conversation, RawPrompt):
            length = len(conversation.content)
            return await self.in_turn(length, owner, self._read_raw, conversation, context_tokens)
        length = conversation.text_chars
        return await self.in_turn(length, owner, self.render_now, conversation, context_tokens)

    async def in_turn(
        self, length: int, owner: str, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Work on a prompt of `length` characters or tokens: at once if it is short, else in a thread.

        Keys (`owner`) share the few threads fairly. Raises Overloaded if too many prompts of the key wait.
        """
        if length <= _SHORT_PROMPT:
            return work(*args, **kwargs)
        return await self._semaphore.run_in_thread(self._threads, owner, work, *args, **kwargs)

    def _read_raw(self, prompt: RawPrompt, context_tokens: int | None) -> tuple[int, ...]:
        content = prompt.content
        ids = self._encode_raw(content, prompt.param, context_tokens) if isinstance(content, str) else content
        if context_tokens is not None and len(ids) >= context_tokens:
            raise PromptTooLong(str(len(ids)), len(ids), context_tokens, prompt.param)
        if not ids:
            raise BadRequest("The prompt is empty.", param=prompt.param)
        self._check_raw(ids, prompt.param)
        return ids

    def _encode_raw(self, text: str, param: str, context_tokens: int | None) -> tuple[int, ...]:
        at_least = self._tokenizer.at_least(text, context_tokens) if context_tokens else 0
        if context_tokens is not None and at_least >= context_tokens:
            raise PromptTooLong(f"at least {at_least}", at_least, context_tokens, param)
        return self._tokenizer.encode_raw(text)

    def _check_raw(self, ids: tuple[int, ...], param: str) -> None:
        """Each token is in the vocabulary, and none stands for media, which a raw prompt does not have."""
        known = self._tokenizer.size
        unknown = next((one for one in ids if one >= known), None)
        if unknown is not None:
            raise BadRequest(f"The vocabulary has no token {unknown}.", param=param)
        for kind, placeholder in self._placeholders.items():
            if placeholder in ids:
                raise BadRequest(
                    f"The prompt has the token that stands for {kind}.",
                    param=param,
                    hint="Send media with /v1/chat/completions.",
                )

    async def tokenize(self, text: str, owner: str = "") -> tuple[int, ...]:
        """Token ids of a text as it stands: its control tokens count as such."""
        return await self.in_turn(len(text), owner, self.tokenize_now, text)

    def tokenize_now(self, text: str) -> tuple[int, ...]:
        """As `tokenize`, in the calling thread."""
        return self._tokenizer.encode_raw(text)

    async def detokenize(self, ids: Sequence[int], owner: str = "") -> str:
        """The text of token ids, control tokens included. Raises BadRequest if one is unknown."""
        return await self.in_turn(len(ids), owner, self.detokenize_now, ids)

    def detokenize_now(self, ids: Sequence[int]) -> str:
        """As `detokenize`, in the calling thread."""
        return self._tokenizer.decode(ids)

    def control_id(self, text: str) -> int | None:
        """The id of a control token; None if the vocabulary has no such token."""
        return self._tokenizer.controls.get(text)

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """Each token as the vocabulary writes it."""
        return self._tokenizer.texts_of(ids)

    async def encode_text(self, texts: list[str], param: str, owner: str = "") -> list[EncodedText]:
        """A client's texts by themselves, as an answer of the model would have them. Errors as `render`."""
        length = sum(map(len, texts))
        return await self.in_turn(length, owner, self._tokenizer.encode_text, texts, param)

    def render_now(self, conversation: Conversation, context_tokens: int | None = None) -> tuple[int, ...]:
        """Token ids up to the assistant's turn, in the calling thread.

        Raises BadRequest if the template does not support a part. A prompt far over `context_tokens` is
        refused as `PromptTooLong` without being encoded whole.
        """
        answers = GeneratedAnswers(conversation, self._tokenizer)
        mark, *ends = _find_marks(conversation, 1 + conversation.is_open + answers.num_quotes)
        quotes = ends[conversation.is_open :]
        messages = answers.quote(
            [self._mark_message(message, mark) for message in conversation.messages], quotes
        )
        tools = [self._mark(tool, mark) for tool in conversation.tools]
        if conversation.is_open:
            text = self.template.render_open(messages, tools, conversation.thinking, end=ends[0])
        else:
            text = self.template.render(messages, tools, conversation.thinking)
        if context_tokens is not None:
            plain = answers.unquoted(text, quotes).replace(mark, "")
            at_least = self._tokenizer.at_least(plain, context_tokens)
            if at_least >= context_tokens:
                raise PromptTooLong(f"at least {at_least}", at_least, context_tokens)
        ids = answers.encode(text, mark, quotes)
        if context_tokens is not None and len(ids) >= context_tokens:
            raise PromptTooLong(str(len(ids)), len(ids), context_tokens)
        self._check_placeholders(ids, conversation)
        return tuple(ids)

    def _mark_message(self, message: dict[str, Any], mark: str) -> dict[str, Any]:
        """Marks every string of the client, but not the role and the types of parts, which are ours."""
        marked = self._mark(message, mark)
        marked["role"] = message["role"]
        if isinstance(message["content"], list):
            marked["content"] = [
                part | {"type": given["type"]}
                for part, given in zip(marked["content"], message["content"], strict=True)
            ]
        return marked

    def _mark(self, value: Any, mark: str) -> Any:
        if isinstance(value, str):
            return self._tokenizer.mark_starts(value, mark)
        if isinstance(value, list):
            return [self._mark(inner, mark) for inner in value]
        if isinstance(value, dict):
            return {
                self._tokenizer.mark_controls(key, mark): self._mark(inner, mark)
                for key, inner in value.items()
            }
        return value

    def _check_placeholders(self, ids: list[int], conversation: Conversation) -> None:
        for kind, placeholder in self._placeholders.items():
            given = [source for source in conversation.sources if source.kind == kind]
            if ids.count(placeholder) != len(given):
                param = given[0].param if given else "messages"
                raise BadRequest(f"The model's chat template does not support this {kind}.", param=param)


def read_placeholders(folder: Path, tokenizer: PromptTokenizer) -> dict[MediaKind, int]:
    """Ids of the placeholder tokens by kind, as far as the vocabulary has them (names as in Qwen)."""
    config = folder / "tokenizer_config.json"
    named = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    kinds: tuple[MediaKind, ...] = ("audio", "image", "video")
    tokens = {kind: named.get(f"{kind}_token") or f"<|{kind}_pad|>" for kind in kinds}
    return {kind: tokenizer.controls[token] for kind, token in tokens.items() if token in tokenizer.controls}


def _check_controls(config: Path, tokenizer: PromptTokenizer) -> None:
    """Without its added tokens a tokenizer would spell control tokens and placeholders as plain text."""
    if not config.is_file():
        return
    known = frozenset(tokenizer.controls.values())
    read = json.loads(config.read_text(encoding="utf-8"))
    for owner in (read, read.get("thinker_config") or {}):
        for name in sorted(_CONTROL_IDS & owner.keys()):
            if owner[name] is not None and owner[name] not in known:
                raise ValueError(
                    f"{name} of config.json is {owner[name]}, which is no added token of the tokenizer"
                )


def _find_marks(conversation: Conversation, number: int) -> list[str]:
    """Private-use characters that the conversation does not contain."""
    texts = list(_texts_in([*conversation.messages, *conversation.tools]))
    unused = (mark for mark in _MARKS if not any(mark in text for text in texts))
    found = list(islice(unused, number))
    if len(found) < number:
        raise BadRequest(
            f"The messages contain all characters from U+{ord(_MARKS[-1]):X} to U+{ord(_MARKS[0]):X}.",
            param="messages",
        )
    return found


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from _texts_in(inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts_in(inner)
