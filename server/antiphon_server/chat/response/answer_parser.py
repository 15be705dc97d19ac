"""Parser of one choice's text into the parts of its answer: reasoning, plain text, tool calls."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon_executor.interface.events import TextDelta
from antiphon_server.chat.request_spec import AnswerForm
from antiphon_server.chat.response.reasoning import ReasoningSplitter
from antiphon_server.chat.response.tool_calls import (
    CalledTool,
    MoreArguments,
    PlainText,
    ToolCallParser,
    tool_call_parser,
)
from antiphon_server.chat.usage import UsageMeter


@dataclass(frozen=True, slots=True)
class ReasoningText:
    text: str


AnswerPart = ReasoningText | PlainText | CalledTool | MoreArguments


class AnswerParser:
    """Counts the reasoning's tokens with `meter`. Without `reasoning` and `calls` all text is plain."""

    def __init__(
        self, reasoning: ReasoningSplitter | None, calls: ToolCallParser | None, meter: UsageMeter
    ) -> None:
        self._reasoning = reasoning
        self._calls = calls
        self._meter = meter

    @property
    def has_called(self) -> bool:
        return self._calls is not None and self._calls.has_called

    def parse_text(self, delta: TextDelta) -> list[AnswerPart]:
        """The parts that are complete with this text, none of them empty."""
        if self._reasoning is None:
            return self._answer_parts(delta.text)
        before = self._reasoning.tokens
        reasoning, answer = self._reasoning.split(delta.text, delta.tokens)
        self._meter.count_reasoning(self._reasoning.tokens - before)
        return [*_reasoning_parts(reasoning), *self._answer_parts(answer)]

    def finish_text(self) -> list[AnswerPart]:
        """The rest."""
        parts: list[AnswerPart] = []
        if self._reasoning is not None:
            before = self._reasoning.tokens
            reasoning, answer = self._reasoning.finish()
            self._meter.count_reasoning(self._reasoning.tokens - before)
            parts += [*_reasoning_parts(reasoning), *self._answer_parts(answer)]
        if self._calls is not None:
            parts += self._calls.finish_text()
        return parts

    def _answer_parts(self, text: str) -> list[AnswerPart]:
        if not text:
            return []
        return [PlainText(text)] if self._calls is None else [*self._calls.parse_text(text)]


def _reasoning_parts(text: str) -> list[AnswerPart]:
    return [ReasoningText(text)] if text else []


def answer_parser(form: AnswerForm, meter: UsageMeter) -> AnswerParser:
    """Speech has no reasoning: the Talker speaks all text of its answer."""
    splits = form.reasoning != "none" and not form.speaks
    reasoning = ReasoningSplitter(is_open=form.reasoning == "open") if splits else None
    return AnswerParser(reasoning, tool_call_parser(form), meter)
