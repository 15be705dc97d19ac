"""Answers of the model within a prompt, with the tokens that it has generated.

Encoding its text again may give others. A prompt that has the same ones as the request before finds all of
that one in the engine's prefix cache.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from antiphon_server.chat.prompt.conversation import Conversation
from antiphon_server.chat.prompt.tokenizer import PromptTokenizer


class GeneratedAnswers:
    """Those of one conversation. Only tokens that spell a message's content are used."""

    def __init__(self, conversation: Conversation, tokenizer: PromptTokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: dict[int, tuple[int, ...]] = {}
        for number, generated in conversation.generated.items():
            ids = tokenizer.without_ends(generated)
            if tokenizer.spells(ids, conversation.messages[number]["content"]):
                self._ids[number] = ids

    @property
    def num_quotes(self) -> int:
        return 2 if self._ids else 0

    def quote(self, messages: list[dict[str, Any]], quotes: Sequence[str]) -> list[dict[str, Any]]:
        """`quotes`: characters that no message contains, put around the answers' content."""
        for number in self._ids:
            before, behind = quotes
            messages[number]["content"] = before + messages[number]["content"] + behind
        return messages

    def unquoted(self, text: str, quotes: Sequence[str]) -> str:
        for one in quotes:
            text = text.replace(one, "")
        return text

    def encode(self, text: str, mark: str, quotes: Sequence[str]) -> list[int]:
        """Token ids of a rendering. `mark`: as in `PromptTokenizer.encode`."""
        if not self._ids:
            return self._tokenizer.encode(text, mark)
        before, behind = quotes
        parts = re.split(f"{before}[^{before}{behind}]*{behind}", text)
        answers = [self._ids[number] for number in sorted(self._ids)]
        is_whole = len(parts) == len(answers) + 1 and not any(one in part for part in parts for one in quotes)
        if not is_whole:
            # The template has left out an answer, or has changed it.
            return self._tokenizer.encode(self.unquoted(text, quotes), mark)
        ids = self._tokenizer.encode(parts[0], mark)
        for answer, part in zip(answers, parts[1:], strict=True):
            ids += [*answer, *self._tokenizer.encode(part, mark)]
        return ids
