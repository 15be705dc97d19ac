"""Writer of OpenAI's chunks for a streamed answer, in one of three dialects. It does no input or output."""

from __future__ import annotations

from typing import Any

import pybase64

from antiphon_executor.interface.events import (
    OUTPUT_SAMPLE_RATE_HZ,
    FinishReason,
    SpeechEnded,
    TextDelta,
    TextEnded,
    TokenLogprob,
)
from antiphon_server.chat.request_spec import AnswerForm, AnswerHead
from antiphon_server.chat.response.alignment import TimedWord
from antiphon_server.chat.response.answer_parser import (
    AnswerParser,
    AnswerPart,
    ReasoningText,
    answer_parser,
)
from antiphon_server.chat.response.tool_calls import CalledTool, MoreArguments, PlainText
from antiphon_server.chat.usage import UsageMeter
from antiphon_server.openai_api import response as wire


class Base64Alignment:
    """Cuts bytes into pieces of a multiple of 6 bytes: whole samples and whole groups of base64.

    OpenAI's SDKs and DashScope's example join the base64 text of all pieces and decode it once, so only the
    last piece may end in padding.
    """

    def __init__(self) -> None:
        self._rest = b""

    def align(self, data: bytes) -> bytes:
        data = self._rest + data
        whole = len(data) - len(data) % 6
        self._rest = data[whole:]
        return data[:whole]

    def remainder(self) -> bytes:
        rest, self._rest = self._rest, b""
        return rest


class ChunkWriter:
    """The chunks of one streamed answer. `transcript`: the text of a spoken answer so far."""

    def __init__(self, head: AnswerHead, form: AnswerForm, meter: UsageMeter) -> None:
        self._head = head
        self._form = form
        self._meter = meter
        self._aligned_audio = Base64Alignment()
        self._parsers = [answer_parser(form, meter) for _ in range(form.choices)]
        self._finish: dict[int, FinishReason] = {}
        self.transcript = ""

    def first_chunks(self) -> list[wire.Chunk]:
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

    def text_chunks(self, delta: TextDelta) -> list[wire.Chunk]:
        chunks = self._part_chunks(delta.choice, self.parse_text(delta))
        if not delta.logprobs:
            return chunks
        if not chunks:
            chunks = [self._chunk(delta.choice, wire.Delta(content=""))]
        choice = chunks[0].choices[0].model_copy(update={"logprobs": write_logprobs(delta.logprobs)})
        return [chunks[0].model_copy(update={"choices": [choice]}), *chunks[1:]]

    def parse_text(self, delta: TextDelta) -> list[AnswerPart]:
        """The parts that are complete with this text."""
        return self._parsers[delta.choice].parse_text(delta)

    def part_chunk(self, choice: int, part: AnswerPart) -> wire.Chunk:
        """The chunk of one part. It does not add to the transcript."""
        return self._chunk(choice, self._delta_of(part), "text")

    def add_transcript(self, part: AnswerPart) -> None:
        if self._form.speaks and isinstance(part, PlainText):
            self.transcript += part.text

    def text_end_chunks(self, end: TextEnded) -> list[wire.Chunk]:
        """The rest of a choice's text and, in a text answer, its finish reason."""
        self._finish[end.choice] = end.finish_reason
        chunks = self._part_chunks(end.choice, self._parsers[end.choice].finish_text())
        return chunks if self._form.speaks else [*chunks, self._finish_chunk(end.choice)]

    def end_speech(self, end: SpeechEnded) -> None:
        if end.finish_reason == "length":
            self._finish[0] = "length"

    def audio_chunks(self, data: bytes) -> list[wire.Chunk]:
        """`data`: more bytes of the answer's audio format."""
        return self._data_chunks(self.align_audio(data))

    def align_audio(self, data: bytes) -> bytes:
        """What can be written of the audio with `data` at its end."""
        return self._aligned_audio.align(data)

    def data_chunk(self, text: str) -> wire.Chunk:
        """A chunk of audio. `text`: its base64."""
        return self._chunk(0, wire.Delta(audio=wire.DeltaAudio(data=text)), "audio")

    def word_chunks(self, words: list[TimedWord]) -> list[wire.Chunk]:
        """Words of the audio that has been written; no chunk if there are none."""
        if not words:
            return []
        timed = [write_word(word).model_copy(update={"index": word.index}) for word in words]
        return [self._chunk(0, wire.Delta(audio=wire.DeltaAudio(words=timed)), "audio")]

    def progress_chunk(self, progress: wire.Progress) -> wire.Chunk:
        return wire.Chunk(**self._fields(), choices=[], progress=progress)

    def timing_chunk(self, timing: dict[str, float]) -> wire.Chunk:
        return wire.Chunk(**self._fields(), choices=[], timing=timing)

    def last_chunks(self) -> list[wire.Chunk]:
        """After the last event: the rest of the audio, its expiry, the finish reason, usage if asked for."""
        chunks: list[wire.Chunk] = []
        if self._form.speaks:
            chunks += self._data_chunks(self._aligned_audio.remainder())
            expiry = wire.DeltaAudio(expires_at=self._head.expires_at)
            chunks += [self._chunk(0, wire.Delta(audio=expiry), "audio"), self._finish_chunk(0)]
        if self._form.include_usage:
            chunks.append(wire.Chunk(**self._fields(), choices=[], usage=self._meter.usage()))
        return chunks

    def _part_chunks(self, choice: int, parts: list[AnswerPart]) -> list[wire.Chunk]:
        for part in parts:
            self.add_transcript(part)
        return [self.part_chunk(choice, part) for part in parts]

    def _delta_of(self, part: AnswerPart) -> wire.Delta:
        match part:
            case CalledTool():
                return wire.Delta(tool_calls=[write_call(part).model_copy(update={"index": part.index})])
            case MoreArguments():
                piece = wire.MoreArguments(arguments=part.text)
                return wire.Delta(tool_calls=[wire.ToolCallPiece(index=part.index, function=piece)])
            case ReasoningText():
                return wire.Delta(reasoning=part.text, reasoning_content=part.text)
            case PlainText():
                return self._text_delta(part.text)

    def _text_delta(self, text: str) -> wire.Delta:
        if not self._form.speaks:
            return wire.Delta(content=text)
        match self._form.dialect:
            case "openai":
                return wire.Delta(audio=wire.DeltaAudio(transcript=text))
            case "dashscope":
                return wire.Delta(content=text)
            case "union":
                return wire.Delta(content=text, audio=wire.DeltaAudio(transcript=text))

    def _data_chunks(self, data: bytes) -> list[wire.Chunk]:
        return [self.data_chunk(pybase64.b64encode_as_string(data))] if data else []

    def _finish_chunk(self, choice: int) -> wire.Chunk:
        reason = finish_reason(self._finish[choice], self._parsers[choice])
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
            fields["usage"] = self._meter.usage() if self._form.continuous_usage else None
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


def finish_reason(reason: FinishReason, parser: AnswerParser) -> wire.FinishReason:
    """A complete answer that called a tool finishes as "tool_calls"; one that was cut off as "length"."""
    return "tool_calls" if reason == "stop" and parser.has_called else reason


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
