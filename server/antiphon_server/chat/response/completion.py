"""A turn's events → one whole `Completion`.

In: events in their order, then the encoded speech. Out: OpenAI's message. Nothing is awaited or sent here.
"""

from __future__ import annotations

from typing import Any

import pybase64

from antiphon_executor.interface.events import (
    OmniEvent,
    SpeechDelta,
    SpeechEnded,
    TextDelta,
    TextEnded,
    TokenLogprob,
)
from antiphon_server.chat.request_spec import AnswerForm, AnswerHead
from antiphon_server.chat.response.alignment import Alignment
from antiphon_server.chat.response.chunks import finish_reason, write_call, write_logprobs, write_word
from antiphon_server.chat.response.tool_calls import AnswerPart, CalledTool, PlainText, tool_call_parser
from antiphon_server.chat.response.usage import UsageMeter
from antiphon_server.openai_api import response as wire


class _ChoiceSoFar:
    """The text, calls and log probabilities of one choice."""

    def __init__(self, form: AnswerForm) -> None:
        self.reader = tool_call_parser(form)
        self.text = ""
        self.calls: list[wire.ToolCall] = []
        self.logprobs: list[TokenLogprob] = []
        self.finish: wire.FinishReason = "stop"

    def add(self, delta: TextDelta) -> None:
        self.logprobs += delta.logprobs
        self._add_parts(self.reader.feed(delta.text) if self.reader else [PlainText(delta.text)])

    def end(self, event: TextEnded) -> None:
        self._add_parts(self.reader.finish() if self.reader else [])
        self.finish = finish_reason(event.finish_reason, self.reader)

    def _add_parts(self, parts: list[AnswerPart]) -> None:
        for part in parts:
            if isinstance(part, CalledTool):
                self.calls.append(write_call(part))
            else:
                self.text += part.text


class CompletionBuilder:
    """One answer being collected. `pcm` is its speech so far."""

    def __init__(self, head: AnswerHead, form: AnswerForm) -> None:
        self._head = head
        self._form = form
        self._meter = UsageMeter()
        self._choices = [_ChoiceSoFar(form) for _ in range(form.choices)]
        self._alignment = Alignment() if form.speaks and form.timestamps else None
        self.pcm = bytearray()

    @property
    def transcript(self) -> str:
        return self._choices[0].text

    def see(self, event: OmniEvent) -> None:
        self._meter.see(event)
        if self._alignment is not None:
            self._alignment.see(event)
        match event:
            case TextDelta():
                self._choices[event.choice].add(event)
            case TextEnded():
                self._choices[event.choice].end(event)
            case SpeechDelta():
                self.pcm += event.pcm
            case SpeechEnded(finish_reason="length"):
                self._choices[0].finish = "length"

    def write(self, sound: bytes) -> wire.Completion:
        """`sound`: the whole file where the answer is spoken, else nothing."""
        return wire.Completion(
            id=self._head.id,
            object="chat.completion",
            created=self._head.created,
            model=self._head.model,
            choices=[self._write_choice(index, sound) for index in range(len(self._choices))],
            usage=self._meter.read(),
        )

    def _write_choice(self, index: int, sound: bytes) -> wire.Choice:
        choice = self._choices[index]
        return wire.Choice(
            index=index,
            message=self._write_message(choice, sound),
            logprobs=write_logprobs(tuple(choice.logprobs)) if choice.logprobs else None,
            finish_reason=choice.finish,
        )

    def _write_message(self, choice: _ChoiceSoFar, sound: bytes) -> wire.AnswerMessage:
        if self._form.speaks:
            audio = wire.Audio(
                id=self._head.audio_id,
                data=pybase64.b64encode_as_string(sound),
                expires_at=self._head.expires_at,
                transcript=choice.text,
                **self._write_times(),
            )
            content = None if self._form.dialect == "openai" else choice.text
            return wire.AnswerMessage(role="assistant", content=content, refusal=None, audio=audio)
        if choice.calls:
            return wire.AnswerMessage(
                role="assistant", content=choice.text or None, refusal=None, tool_calls=choice.calls
            )
        return wire.AnswerMessage(role="assistant", content=choice.text, refusal=None)

    def _write_times(self) -> dict[str, Any]:
        """Nothing where nobody asked: only what was set is written."""
        if self._alignment is None:
            return {}
        words = [write_word(word) for word in self._alignment.words()]
        return {"timestamp_granularity": self._form.timestamps, "words": words}
