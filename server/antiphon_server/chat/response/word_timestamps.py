"""A streamed answer's text beside its sound: text that waits for it, and words with their times behind it.

In: the turn's events, and how far the sound has gone out. Out: which events are to be written now, and which
words. Without a wish for either, every event goes out as it comes and nothing is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from antiphon_executor.interface.events import OmniEvent, SpeechEnded, TextDelta, TextEnded
from antiphon_server.chat.request_spec import AnswerForm
from antiphon_server.chat.response.alignment import Alignment, TimedWord


class WordTimestamps:
    """Of one answer. `see` every event; `before` a packet of sound goes out, and `behind` it."""

    def __init__(self, form: AnswerForm) -> None:
        self._times = form.speaks and form.timestamps is not None
        self._waits = form.speaks and form.transcript_timing == "as_spoken"
        self._alignment = Alignment()
        self._held: deque[tuple[int, TextDelta | TextEnded]] = deque()
        self._chars = 0
        self._speech_over = False

    def see(self, event: OmniEvent) -> list[OmniEvent]:
        """What is to be written now: the event, unless it is text that waits."""
        if not (self._times or self._waits):
            return [event]
        self._alignment.see(event)
        self._speech_over |= isinstance(event, SpeechEnded)
        if not self._waits or self._speech_over:
            return [event]
        if isinstance(event, TextDelta):
            self._hold(event)
        elif isinstance(event, TextEnded):
            self._held.append((max(self._chars - 1, 0), event))
        else:
            return [event]
        return []

    def before(self, samples: int) -> list[OmniEvent]:
        """Text that the first `samples` of the sound say; all that waits, once the sound is complete."""
        due: list[OmniEvent] = []
        while self._held and (self._speech_over or self._alignment.is_said(self._held[0][0], samples)):
            due.append(self._held.popleft()[1])
        return due

    def behind(self, samples: int) -> list[TimedWord]:
        """Words that end within the first `samples` of the sound, each once."""
        return self._alignment.words(samples) if self._times else []

    def _hold(self, delta: TextDelta) -> None:
        for piece in _by_token(delta, self._chars):
            self._held.append((self._chars if piece.text else max(self._chars - 1, 0), piece))
            self._chars += len(piece.text)


def _by_token(delta: TextDelta, before: int) -> Iterator[TextDelta]:
    """A delta that came late, and brings several tokens, as one delta each. `before`: characters so far."""
    if len(delta.spoken_ends) < 2 or delta.logprobs:
        yield delta
        return
    inner = [end - before for end in delta.spoken_ends[:-1]]
    cuts = [0, *inner, len(delta.text)]
    for end, (start, stop) in zip(delta.spoken_ends, pairwise(cuts), strict=True):
        yield replace(delta, text=delta.text[start:stop], tokens=1, spoken_ends=(end,))
