"""The message of a spoken answer while it is generated: its transcript and its audio."""

from __future__ import annotations

import pybase64

from antiphon_server.chat.request_spec import AnswerForm, AnswerHead
from antiphon_server.chat.response.alignment import TimedWord
from antiphon_server.chat.response.chunks import Base64Alignment, write_word
from antiphon_server.chat.response.output.open_items import Events, Number, OpenItem
from antiphon_server.openai_api.response import Word
from antiphon_server.openai_api.responses import events as wire
from antiphon_server.openai_api.responses import response as items


class OpenSpeech(OpenItem):
    """`file`: the whole audio, if its pieces were not sent."""

    prefix = "msg"

    def __init__(self, index: int, number: Number, head: AnswerHead, form: AnswerForm) -> None:
        super().__init__(index, number)
        self._head = head
        self._format = form.audio_format
        self._aligned = Base64Alignment()
        self._pieces: list[str] = []
        self._words: list[Word] | None = None if form.timestamps is None else []
        self.file = b""

    @property
    def transcript(self) -> str:
        return "".join(self._pieces)

    def add(self, text: str) -> Events:
        self._pieces.append(text)
        return [
            wire.TranscriptDeltaEvent(
                sequence_number=self._number(), item_id=self.id, output_index=self.index, delta=text
            )
        ]

    def add_speech(self, data: bytes, words: list[TimedWord]) -> Events:
        """`data`: more bytes of the audio format. `words`: those of the audio so far that are new."""
        written = [write_word(word).model_copy(update={"index": word.index}) for word in words]
        if self._words is not None:
            self._words += written
        return self._deltas(self._aligned.align(data), written)

    def item(self, status: items.ItemStatus) -> items.OutputItem:
        content: list[items.OutputText | items.OutputAudio] = []
        if status != "in_progress":
            content.append(self._audio())
        return items.OutputMessage(id=self.id, status=status, content=content)

    def _audio(self) -> items.OutputAudio:
        return items.OutputAudio(
            id=self._head.audio_id,
            data=pybase64.b64encode_as_string(self.file),
            transcript=self.transcript,
            format=self._format,
            expires_at=self._head.expires_at,
            words=self._words,
        )

    def _begin_parts(self) -> Events:
        return [self._part("response.content_part.added", self._audio())]

    def _end_parts(self) -> Events:
        return [
            *self._deltas(self._aligned.remainder(), []),
            wire.AudioDoneEvent(sequence_number=self._number(), item_id=self.id, output_index=self.index),
            wire.TranscriptDoneEvent(
                sequence_number=self._number(),
                item_id=self.id,
                output_index=self.index,
                transcript=self.transcript,
            ),
            self._part("response.content_part.done", self._audio()),
        ]

    def _deltas(self, data: bytes, words: list[Word]) -> Events:
        if not data and not words:
            return []
        return [
            wire.AudioDeltaEvent(
                sequence_number=self._number(),
                item_id=self.id,
                output_index=self.index,
                delta=pybase64.b64encode_as_string(data),
                words=words,
            )
        ]
