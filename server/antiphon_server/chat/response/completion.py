"""Builder of a whole `Completion` from a request's events. It does no input or output."""

from __future__ import annotations

from typing import Any

import pybase64

from antiphon_executor.interface.events import (
    SpeechDelta,
    SpeechEnded,
    TextDelta,
    TextEnded,
    TokenLogprob,
)
from antiphon_server.chat.request_spec import AnswerForm, AnswerHead
from antiphon_server.chat.response.alignment import Alignment
from antiphon_server.chat.response.answer_parser import AnswerPart, ReasoningText, answer_parser
from antiphon_server.chat.response.chunks import finish_reason, write_call, write_logprobs, write_word
from antiphon_server.chat.response.tool_calls import CalledTool, MoreArguments
from antiphon_server.chat.usage import UsageMeter
from antiphon_server.openai_api import response as wire


class _ChoiceSoFar:
    """The text, reasoning, tool calls and log probabilities of one choice so far."""

    def __init__(self, form: AnswerForm, meter: UsageMeter) -> None:
        self.parser = answer_parser(form, meter)
        self.text = ""
        self.reasoning = ""
        self.calls: list[wire.ToolCall] = []
        self.logprobs: list[TokenLogprob] = []
        self.finish: wire.FinishReason = "stop"

    def add_text(self, delta: TextDelta) -> None:
        self.logprobs += delta.logprobs
        self._add_parts(self.parser.parse_text(delta))

    def end_text(self, end: TextEnded) -> None:
        self._add_parts(self.parser.finish_text())
        self.finish = finish_reason(end.finish_reason, self.parser)

    def _add_parts(self, parts: list[AnswerPart]) -> None:
        for part in parts:
            if isinstance(part, CalledTool):
                self.calls.append(write_call(part))
            elif isinstance(part, MoreArguments):
                self.calls[part.index] = _extended(self.calls[part.index], part.text)
            elif isinstance(part, ReasoningText):
                self.reasoning += part.text
            else:
                self.text += part.text


class CompletionBuilder:
    """The `AnswerWriter` of an answer that is not streamed. `pcm`: its speech so far."""

    def __init__(self, head: AnswerHead, form: AnswerForm, meter: UsageMeter) -> None:
        self._head = head
        self._form = form
        self._meter = meter
        self._choices = [_ChoiceSoFar(form, meter) for _ in range(form.choices)]
        self._alignment = Alignment() if form.speaks and form.timestamps else None
        self.pcm = bytearray()

    @property
    def transcript(self) -> str:
        return self._choices[0].text

    @property
    def has_called(self) -> bool:
        """Whether the answer calls a tool."""
        return bool(self._choices[0].calls)

    def add_text(self, delta: TextDelta) -> None:
        if self._alignment is not None:
            self._alignment.add_text(delta)
        self._choices[delta.choice].add_text(delta)

    def end_text(self, end: TextEnded) -> None:
        if self._alignment is not None:
            self._alignment.end_text()
        self._choices[end.choice].end_text(end)

    def add_speech(self, delta: SpeechDelta) -> None:
        if self._alignment is not None:
            self._alignment.add_speech(delta)
        self.pcm += delta.pcm

    async def end_speech(self, end: SpeechEnded) -> None:
        if self._alignment is not None:
            self._alignment.end_speech(end.finish_reason)
        if end.finish_reason == "length":
            self._choices[0].finish = "length"

    def body(self, audio_file: bytes) -> bytes:
        return self.completion(audio_file).to_json()

    def completion(self, audio_file: bytes) -> wire.Completion:
        """`audio_file`: the encoded speech; empty for a text answer."""
        return wire.Completion(
            id=self._head.id,
            object="chat.completion",
            created=self._head.created,
            model=self._head.model,
            choices=[self._choice(index, audio_file) for index in range(len(self._choices))],
            usage=self._meter.usage(),
        )

    def _choice(self, index: int, audio_file: bytes) -> wire.Choice:
        choice = self._choices[index]
        return wire.Choice(
            index=index,
            message=self._message(choice, audio_file),
            logprobs=write_logprobs(tuple(choice.logprobs)) if choice.logprobs else None,
            finish_reason=choice.finish,
        )

    def _message(self, choice: _ChoiceSoFar, audio_file: bytes) -> wire.AnswerMessage:
        if self._form.speaks:
            audio = wire.Audio(
                id=self._head.audio_id,
                data=pybase64.b64encode_as_string(audio_file),
                expires_at=self._head.expires_at,
                transcript=choice.text,
                **self._word_fields(),
            )
            content = None if self._form.dialect == "openai" else choice.text
            called: dict[str, Any] = {"tool_calls": choice.calls} if choice.calls else {}
            if audio_file or not choice.calls:
                called["audio"] = audio
            return wire.AnswerMessage(role="assistant", content=content, refusal=None, **called)
        fields: dict[str, Any] = {"content": choice.text}
        if choice.reasoning:
            fields |= {"reasoning": choice.reasoning, "reasoning_content": choice.reasoning}
        if choice.calls:
            fields |= {"content": choice.text or None, "tool_calls": choice.calls}
        return wire.AnswerMessage(role="assistant", refusal=None, **fields)

    def _word_fields(self) -> dict[str, Any]:
        """Empty unless the request asks for timestamps: only fields that are set are written."""
        if self._alignment is None:
            return {}
        words = [write_word(word) for word in self._alignment.timed_words()]
        return {"timestamp_granularity": self._form.timestamps, "words": words}


def _extended(call: wire.ToolCall, arguments: str) -> wire.ToolCall:
    function = wire.CalledFunction(name=call.function.name, arguments=call.function.arguments + arguments)
    return call.model_copy(update={"function": function})
