"""Writer of one realtime response: the engine's events become the response's, its speech goes in packets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

import pybase64

from antiphon_executor.interface.events import (
    OUTPUT_SAMPLE_RATE_HZ,
    FinishReason,
    SpeechDelta,
    SpeechEnded,
    TextDelta,
    TextEnded,
)
from antiphon_server.chat.prompt.template import CALL_OPENING
from antiphon_server.chat.request_spec import AnswerForm
from antiphon_server.chat.response.answer_parser import AnswerPart, answer_parser
from antiphon_server.chat.response.tool_calls import CalledTool, MoreArguments, PlainText
from antiphon_server.chat.usage import UsageMeter
from antiphon_server.http.streaming.speech_packets import SpeechPackets
from antiphon_server.realtime.audio.sample_formats import OutputEncoder
from antiphon_server.realtime.items import Event
from antiphon_server.realtime.open_response import OpenResponse, Outcome


class RealtimeAnswer:
    """The `AnswerWriter` of a response. `put`: takes its events.

    The transcript of a spoken answer goes in step with its speech, and its calls follow the speech. A
    response that has been cancelled gets nothing more.
    """

    def __init__(
        self,
        response: OpenResponse,
        form: AnswerForm,
        meter: UsageMeter,
        packets: SpeechPackets,
        encoder: OutputEncoder,
        put: Callable[[list[Event]], None],
    ) -> None:
        self._response = response
        self._speaks = form.speaks
        self._parser = answer_parser(form, meter)
        self._packets = packets
        self._encoder = encoder
        self._put = put
        self._finish: FinishReason = "stop"
        self._chars = 0
        self._has_called = False
        self._held_text: deque[tuple[int, str]] = deque()
        self._held_calls: list[AnswerPart] = []
        self._calls_tool = False

    @property
    def outcome(self) -> Outcome:
        if self._finish == "length":
            return Outcome("incomplete", "max_output_tokens")
        return Outcome()

    def add_text(self, delta: TextDelta) -> None:
        self._response.generated.add(delta.text, delta.token_ids)
        if self._speaks:
            self._align(delta)
        for part in self._parser.parse_text(delta):
            self._take(part)

    def end_text(self, end: TextEnded) -> None:
        self._finish = end.finish_reason
        for part in self._parser.finish_text():
            self._take(part)
        self._response.sound.words.end_text()

    def add_speech(self, delta: SpeechDelta) -> None:
        self._response.sound.words.add_speech(delta)
        self._packets.add(delta.pcm)

    async def end_speech(self, end: SpeechEnded) -> None:
        if end.finish_reason == "length":
            self._finish = "length"
        self._response.sound.words.end_speech(end.finish_reason)
        self._write_speech(self._packets.flush(), is_last=True)
        self._write_text(None)
        for part in self._held_calls:
            self._write(part)

    def pop_due_speech(self) -> bytes:
        """Writes the packet that is due, and returns it; none if none is."""
        pcm = self._packets.pop_due() if self._packets.holds_speech else b""
        if pcm:
            self._write_speech(pcm)
        return pcm

    def _align(self, delta: TextDelta) -> None:
        """Words are timed up to the first call, which is not spoken."""
        if self._has_called:
            return
        spoken, opening, _ = delta.text.partition(CALL_OPENING)
        self._has_called = bool(opening)
        self._response.sound.words.add_text(
            delta if not opening else TextDelta(delta.choice, spoken, delta.tokens)
        )

    def _take(self, part: AnswerPart) -> None:
        if not self._speaks:
            self._write(part)
        elif isinstance(part, PlainText):
            if not self._held_calls:
                self._held_text.append((self._chars, part.text))
                self._chars += len(part.text)
        else:
            self._held_calls.append(part)

    def _write(self, part: AnswerPart) -> None:
        match part:
            case PlainText():
                self._emit(partial(self._response.add_text, part.text))
            case CalledTool():
                self._emit(partial(self._response.begin_call, part.id, part.name))
                if part.arguments:
                    self._emit(partial(self._response.add_arguments, part.arguments))
            case MoreArguments():
                self._emit(partial(self._response.add_arguments, part.text))

    def _write_speech(self, pcm: bytes, is_last: bool = False) -> None:
        """Writes the text that the speech reaches, then the speech."""
        if self._response.has_ended:
            return
        self._response.sound.add(pcm)
        self._write_text(self._response.sound.samples)
        encoded = self._encoder.encode(pcm) + (self._encoder.finish() if is_last else b"")
        if encoded:
            self._emit(partial(self._response.add_audio, pybase64.b64encode_as_string(encoded)))

    def _write_text(self, samples: int | None) -> None:
        """Text that is spoken within the first `samples`; None: all of it."""
        words = self._response.sound.words
        while self._held_text:
            char, text = self._held_text[0]
            if samples is not None and not words.is_spoken(char, samples):
                return
            self._held_text.popleft()
            start = words.start_of(char)
            start_s = None if start is None else start / OUTPUT_SAMPLE_RATE_HZ
            self._emit(partial(self._response.add_text, text, start_s))

    def _emit(self, make: Callable[[], list[Event]]) -> None:
        if not self._response.has_ended:
            self._put(make())
