"""A turn's events → OpenAI's chunks, in one of three dialects.

In: events in their order, and sound as bytes of the answer's format. Out: chunks to be sent at once.
Pure: nothing is awaited, timed or sent here. Base64 pieces can be concatenated and decoded once.
"""

from __future__ import annotations

from typing import Any

import pybase64

from antiphon_executor.interface.events import (
    OUTPUT_SAMPLE_RATE_HZ,
    FinishReason,
    OmniEvent,
    SpeechEnded,
    TextDelta,
    TextEnded,
    TokenLogprob,
)
from antiphon_server.chat.request_spec import AnswerForm, AnswerHead
from antiphon_server.chat.response.alignment import TimedWord
from antiphon_server.chat.response.tool_calls import (
    AnswerPart,
    CalledTool,
    PlainText,
    ToolCallParser,
    tool_call_parser,
)
from antiphon_server.chat.response.usage import UsageMeter
from antiphon_server.openai_api import response as wire

_NO_TEXT = PlainText("")


class Base64Alignment:
    """Bytes in any pieces → pieces of a multiple of 6 bytes, and a rest: whole samples, whole base64 groups.

    Both OpenAI SDKs and Alibaba's snippet concatenate base64 and decode it once: padding inside would end it.
    """

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> bytes:
        data = self._rest + data
        whole = len(data) - len(data) % 6
        self._rest = data[whole:]
        return data[:whole]

    def finish(self) -> bytes:
        rest, self._rest = self._rest, b""
        return rest


class ChunkWriter:
    """The chunks of one streamed answer: `opening`, then `write` and `sound`, then `closing`."""

    def __init__(self, head: AnswerHead, form: AnswerForm, meter: UsageMeter) -> None:
        self._head = head
        self._form = form
        self._meter = meter
        self._sextets = Base64Alignment()
        self._readers = [tool_call_parser(form) for _ in range(form.choices)]
        self._finish: dict[int, FinishReason] = {}
        self.transcript = ""

    def opening(self) -> list[wire.Chunk]:
        if self._form.speaks:
            times = {"timestamp_granularity": self._form.timestamps} if self._form.timestamps else {}
            named = wire.Delta(audio=wire.DeltaAudio(id=self._head.audio_id, **times))
            return [
                self._chunk(0, wire.Delta(role="assistant", refusal=None)),
                self._chunk(0, named, "audio"),
            ]
        return [
            self._chunk(choice, wire.Delta(role="assistant", content="", refusal=None))
            for choice in range(self._form.choices)
        ]

    def write(self, event: OmniEvent) -> list[wire.Chunk]:
        """Everything but sound. A choice finishes with `TextEnded`; a spoken one in `closing`."""
        match event:
            case TextDelta():
                return self._write_text(event)
            case TextEnded():
                self._finish[event.choice] = event.finish_reason
                chunks = self._write_parts(event.choice, self._rest_of(event.choice))
                return chunks if self._form.speaks else [*chunks, self._finish_chunk(event.choice)]
            case SpeechEnded(finish_reason="length"):
                self._finish[0] = "length"
        return []

    def sound(self, data: bytes) -> list[wire.Chunk]:
        """`data`: more bytes of the answer's format."""
        return self._sound_chunks(self._sextets.take(data))

    def words(self, words: list[TimedWord]) -> list[wire.Chunk]:
        """Words of the sound that has been written, where there are any."""
        if not words:
            return []
        timed = [write_word(word).model_copy(update={"index": word.index}) for word in words]
        return [self._chunk(0, wire.Delta(audio=wire.DeltaAudio(words=timed)), "audio")]

    def closing(self) -> list[wire.Chunk]:
        """After the last event: the rest of the sound, its expiry, the finish, and usage if asked for."""
        chunks: list[wire.Chunk] = []
        if self._form.speaks:
            chunks += self._sound_chunks(self._sextets.finish())
            expiry = wire.DeltaAudio(expires_at=self._head.expires_at)
            chunks += [self._chunk(0, wire.Delta(audio=expiry), "audio"), self._finish_chunk(0)]
        if self._form.include_usage:
            chunks.append(wire.Chunk(**self._fields(), choices=[], usage=self._meter.read()))
        return chunks

    def _write_text(self, event: TextDelta) -> list[wire.Chunk]:
        reader = self._readers[event.choice]
        parts: list[AnswerPart] = reader.feed(event.text) if reader else [PlainText(event.text)]
        chunks = self._write_parts(event.choice, [part for part in parts if part != _NO_TEXT])
        if not event.logprobs:
            return chunks
        if not chunks:
            chunks = [self._chunk(event.choice, wire.Delta(content=""))]
        choice = chunks[0].choices[0].model_copy(update={"logprobs": write_logprobs(event.logprobs)})
        return [chunks[0].model_copy(update={"choices": [choice]}), *chunks[1:]]

    def _write_parts(self, choice: int, parts: list[AnswerPart]) -> list[wire.Chunk]:
        return [self._chunk(choice, self._delta_of(part), "text") for part in parts]

    def _delta_of(self, part: AnswerPart) -> wire.Delta:
        if isinstance(part, CalledTool):
            return wire.Delta(tool_calls=[write_call(part).model_copy(update={"index": part.index})])
        if not self._form.speaks:
            return wire.Delta(content=part.text)
        self.transcript += part.text
        match self._form.dialect:
            case "openai":
                return wire.Delta(audio=wire.DeltaAudio(transcript=part.text))
            case "dashscope":
                return wire.Delta(content=part.text)
            case "union":
                return wire.Delta(content=part.text, audio=wire.DeltaAudio(transcript=part.text))

    def _rest_of(self, choice: int) -> list[AnswerPart]:
        reader = self._readers[choice]
        return reader.finish() if reader else []

    def _sound_chunks(self, data: bytes) -> list[wire.Chunk]:
        if not data:
            return []
        text = pybase64.b64encode_as_string(data)
        return [self._chunk(0, wire.Delta(audio=wire.DeltaAudio(data=text)), "audio")]

    def _finish_chunk(self, choice: int) -> wire.Chunk:
        reason = finish_reason(self._finish[choice], self._readers[choice])
        return self._chunk(choice, wire.Delta(), "audio" if self._form.speaks else "text", reason)

    def _chunk(
        self,
        choice: int,
        delta: wire.Delta,
        modality: wire.Modality = "text",
        reason: wire.FinishReason | None = None,
    ) -> wire.Chunk:
        fields = self._fields()
        if self._form.include_usage:
            fields["usage"] = self._meter.read() if self._form.continuous_usage else None
        if self._form.dialect == "union":
            fields["modality"] = modality
        piece = wire.ChunkChoice(index=choice, delta=delta, finish_reason=reason, logprobs=None)
        return wire.Chunk(**fields, choices=[piece])

    def _fields(self) -> dict[str, Any]:
        head = self._head
        return {
            "id": head.id,
            "object": "chat.completion.chunk",
            "created": head.created,
            "model": head.model,
        }


def write_call(call: CalledTool) -> wire.ToolCall:
    function = wire.CalledFunction(name=call.name, arguments=call.arguments)
    return wire.ToolCall(id=call.id, type="function", function=function)


def write_word(word: TimedWord) -> wire.Word:
    seconds = [round(sample / OUTPUT_SAMPLE_RATE_HZ, 6) for sample in (word.start, word.end)]
    return wire.Word(word=word.text, start=seconds[0], end=seconds[1])


def finish_reason(reason: FinishReason, reader: ToolCallParser | None) -> wire.FinishReason:
    """A complete answer that called a tool ends for that; one that was cut off says so first."""
    return "tool_calls" if reason == "stop" and reader and reader.has_called else reason


def write_logprobs(logprobs: tuple[TokenLogprob, ...]) -> wire.Logprobs:
    content = [
        wire.TokenLogprob(
            token=one.token,
            logprob=one.logprob,
            bytes=list(one.token_bytes),
            top_logprobs=[
                wire.TopLogprob(token=top.token, logprob=top.logprob, bytes=list(top.token_bytes))
                for top in one.top
            ],
        )
        for one in logprobs
    ]
    return wire.Logprobs(content=content, refusal=None)
