"""Text and word timestamps of a streamed answer, in step with the audio that has been sent.

If the request asks for neither, text passes through at once and nothing is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from antiphon_executor.interface.events import SpeechDelta, SpeechEnded, TextDelta, TextEnded
from antiphon_server.chat.request_spec import AnswerForm
from antiphon_server.chat.response.alignment import Alignment, TimedWord

TextEvent = TextDelta | TextEnded


class WordTimestamps:
    """One answer's. Call `due_text` before a packet of audio is written and `due_words` after it."""

    def __init__(self, form: AnswerForm) -> None:
        self._times_words = form.speaks and form.timestamps is not None
        holds_text = form.speaks and form.transcript_timing == "as_spoken"
        self._alignment = Alignment() if self._times_words or holds_text else None
        self._held: deque[tuple[int, TextEvent]] | None = deque() if holds_text else None
        self._chars = 0
        self._speech_ended = False

    def add_text(self, delta: TextDelta) -> list[TextEvent]:
        """The text to write now: none if it waits for its speech."""
        if self._alignment is not None:
            self._alignment.add_text(delta)
        if self._held is None or self._speech_ended:
            return [delta]
        for piece in _by_token(delta, self._chars):
            self._held.append((self._chars if piece.text else max(self._chars - 1, 0), piece))
            self._chars += len(piece.text)
        return []

    def end_text(self, end: TextEnded) -> list[TextEvent]:
        """As `add_text`, for the end of the text."""
        if self._alignment is not None:
            self._alignment.end_text()
        if self._held is None or self._speech_ended:
            return [end]
        self._held.append((max(self._chars - 1, 0), end))
        return []

    def add_speech(self, delta: SpeechDelta) -> None:
        if self._alignment is not None:
            self._alignment.add_speech(delta)

    def end_speech(self, end: SpeechEnded) -> None:
        self._speech_ended = True
        if self._alignment is not None:
            self._alignment.end_speech(end.finish_reason)

    def due_text(self, samples: int) -> list[TextEvent]:
        """Held text that the first `samples` of the speech reach; all of it once the speech has ended."""
        due: list[TextEvent] = []
        while self._held and (self._speech_ended or self._is_spoken(self._held[0][0], samples)):
            due.append(self._held.popleft()[1])
        return due

    def due_words(self, samples: int) -> list[TimedWord]:
        """Words that end within the first `samples` of the speech, each once."""
        if self._alignment is None or not self._times_words:
            return []
        return self._alignment.timed_words(samples)

    def _is_spoken(self, char: int, samples: int) -> bool:
        return self._alignment is not None and self._alignment.is_spoken(char, samples)


def _by_token(delta: TextDelta, before: int) -> Iterator[TextDelta]:
    """A delta of several tokens as one delta per token. `before`: characters of the text before it."""
    if len(delta.spoken_ends) < 2 or delta.logprobs:
        yield delta
        return
    inner = [end - before for end in delta.spoken_ends[:-1]]
    cuts = [0, *inner, len(delta.text)]
    for end, (start, stop) in zip(delta.spoken_ends, pairwise(cuts), strict=True):
        yield replace(delta, text=delta.text[start:stop], tokens=1, spoken_ends=(end,))
