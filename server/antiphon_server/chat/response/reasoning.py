"""Splitter of one choice's text into reasoning, `<think>…</think>` at its start, and the answer after it.

A tag may be split over pieces of text. Reasoning that is cut off stays reasoning.
"""

from __future__ import annotations

from typing import Literal

from antiphon_server.chat.prompt.template import THINK_CLOSING, THINK_OPENING

_Stage = Literal["start", "thinking", "gap", "answer"]


class ReasoningSplitter:
    """`is_open`: the prompt ends in `<think>`, so the text begins with reasoning.

    White space around reasoning belongs to neither part. `tokens`: of the reasoning and its tags so far.
    """

    def __init__(self, is_open: bool) -> None:
        self._is_open = is_open
        self._stage: _Stage = "start"
        self._held = ""
        self._has_reasoned = False
        self._undecided_tokens = 0
        self.tokens = 0

    def split(self, text: str, tokens: int) -> tuple[str, str]:
        """The reasoning and the answer that are complete with `text`, which has `tokens` tokens."""
        if self._stage == "answer":
            return "", text
        was_thinking = self._stage != "gap"
        self._held += text
        if self._stage == "start":
            self._find_start()
        reasoning = self._take_reasoning() if self._stage == "thinking" else ""
        if was_thinking:
            self._count(text, tokens)
        return reasoning, self._take_answer()

    def finish(self) -> tuple[str, str]:
        """The rest, when the text has ended."""
        rest, self._held = self._held, ""
        if self._stage == "thinking" or (self._stage == "start" and self._is_open):
            self.tokens += self._undecided_tokens
            return self._trim(rest.rstrip()), ""
        return "", rest if self._stage == "start" else ""

    def _find_start(self) -> None:
        begun = self._held.lstrip()
        if begun.startswith(THINK_OPENING):
            self._stage, self._held = "thinking", begun[len(THINK_OPENING) :]
        elif not THINK_OPENING.startswith(begun):
            self._stage = "thinking" if self._is_open else "answer"

    def _take_reasoning(self) -> str:
        end = self._held.find(THINK_CLOSING)
        if end >= 0:
            reasoning, self._held = self._held[:end].rstrip(), self._held[end + len(THINK_CLOSING) :]
            self._stage = "gap"
        else:
            size = _final_chars(self._held)
            reasoning, self._held = self._held[:size], self._held[size:]
        return self._trim(reasoning)

    def _trim(self, reasoning: str) -> str:
        if not self._has_reasoned:
            reasoning = reasoning.lstrip()
            self._has_reasoned = bool(reasoning)
        return reasoning

    def _take_answer(self) -> str:
        if self._stage == "gap":
            self._held = self._held.lstrip()
            if self._held:
                self._stage = "answer"
        if self._stage != "answer":
            return ""
        answer, self._held = self._held, ""
        return answer

    def _count(self, text: str, tokens: int) -> None:
        """A piece that holds the closing tag and more is counted in proportion to its characters."""
        if self._stage == "start":
            self._undecided_tokens += tokens
        elif self._stage == "thinking" or not text:
            self.tokens += tokens + self._undecided_tokens
            self._undecided_tokens = 0
        elif self._stage == "gap":
            share = 1 - min(len(self._held), len(text)) / len(text)
            self.tokens += min(tokens, max(1, round(tokens * share))) + self._undecided_tokens
            self._undecided_tokens = 0


def _final_chars(text: str) -> int:
    """How many characters of `text` cannot be part of the closing tag, nor of the white space before it."""
    for size in range(min(len(THINK_CLOSING) - 1, len(text)), 0, -1):
        if text.endswith(THINK_CLOSING[:size]):
            text = text[:-size]
            break
    return len(text.rstrip())
