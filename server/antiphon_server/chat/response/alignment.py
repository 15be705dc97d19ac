"""Alignment of an answer's text and speech: which words are spoken at which samples.

When the Talker consumes a word is known exactly. The word is spoken later, often by seconds; how much later
is estimated by `WordClock`, and is never before the word is consumed.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from antiphon_executor.interface.events import FinishReason, SpeechDelta, TextDelta
from antiphon_server.chat.response.word_clock import WordClock

# Scripts that put no space between words: Thai, Lao, Burmese, Khmer, kana, and Chinese characters.
_LETTERS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_UNSPACED = re.compile(f"[{_LETTERS}]")
_UNSPACED_OR_MARK = re.compile(f"[{_LETTERS}\u3001-\u303f\uff00-\uff0f\uff1a-\uff1f]")


@dataclass(frozen=True, slots=True)
class TimedWord:
    """`text`: with the white space after it. `start`, `end`: estimated samples of its speech."""

    index: int
    text: str
    start: int
    end: int


class ConsumedTokens:
    """At which sample of the speech the Talker consumed which text tokens."""

    def __init__(self) -> None:
        self.samples = 0
        self.ended = False
        self._starts: list[int] = []
        self._tokens: list[int] = []

    def add_speech(self, samples: int, tokens: int) -> None:
        """A piece of speech, by whose end `tokens` text tokens have been consumed in total."""
        if tokens > (self._tokens[-1] if self._tokens else 0):
            self._starts.append(self.samples)
            self._tokens.append(tokens)
        self.samples += samples

    def tokens_before(self, sample: int) -> int:
        """How many tokens were consumed by the pieces that begin before `sample`."""
        steps = bisect_left(self._starts, sample)
        return self._tokens[steps - 1] if steps else 0

    def start_of(self, token: int) -> int | None:
        """The sample at which a token (counted from 1) is consumed; None if not known yet.

        For a token that is never consumed it is the end of the speech.
        """
        step = bisect_left(self._tokens, token)
        if step < len(self._starts):
            return self._starts[step]
        return self.samples if self.ended else None


class WordBoundaries:
    """Which characters of the text belong to which token, and where words begin.

    A word ends with the white space after it. In scripts without spaces it ends with its token.
    """

    def __init__(self) -> None:
        self.text = ""
        self.ended = False
        self._ends: list[int] = []
        self._begin = 0
        self._scanned = 0

    def add_text(self, text: str, ends: tuple[int, ...]) -> None:
        self.text += text
        self._ends += ends

    def token_at(self, char: int) -> int:
        """The token (counted from 1) that completes a character; past the last token if none does."""
        return bisect_right(self._ends, char) + 1

    def chars_of(self, tokens: int) -> int:
        """The number of characters of the first `tokens` tokens."""
        return self._ends[min(tokens, len(self._ends)) - 1] if tokens and self._ends else 0

    def pop_words(self) -> Iterator[tuple[int, int]]:
        """The character ranges `[begin, end)` of the words that have become complete, each once."""
        for at in range(max(self._scanned, 1), len(self.text)):
            if self._begins_word(at):
                yield self._begin, at
                self._begin = at
        self._scanned = len(self.text)
        if self.ended and self._begin < len(self.text):
            yield self._begin, len(self.text)
            self._begin = len(self.text)

    def first_char(self, begin: int, end: int) -> int:
        """The first character of a word that is no white space; `begin` if there is none."""
        return next((at for at in range(begin, end) if not self.text[at].isspace()), begin)

    def _begins_word(self, at: int) -> bool:
        before, here = self.text[at - 1], self.text[at]
        if here.isspace():
            return False
        if before.isspace():
            return not self.text[self._begin : at].isspace()
        if not (_UNSPACED.match(here) or (_UNSPACED_OR_MARK.match(before) and here.isalnum())):
            return False
        edge = bisect_left(self._ends, at)
        return edge < len(self._ends) and self._ends[edge] == at


class Alignment:
    """Alignment of one spoken answer. `timed_words` gives each word once, when its end is known."""

    def __init__(self) -> None:
        self._consumed = ConsumedTokens()
        self._words = WordBoundaries()
        self._clock = WordClock()
        self._ranges: list[tuple[int, int]] = []
        self._given = 0
        self._last = TimedWord(-1, "", 0, 0)
        self._stopped_itself = False

    @property
    def samples(self) -> int:
        """Samples of speech so far."""
        return self._consumed.samples

    def add_text(self, delta: TextDelta) -> None:
        self._words.add_text(delta.text, delta.spoken_ends)
        self._clock.add_text(delta.text)
        self._ranges += self._words.pop_words()

    def end_text(self) -> None:
        self._words.ended = True
        self._complete_clock()
        self._ranges += self._words.pop_words()

    def add_speech(self, delta: SpeechDelta) -> None:
        if not self._consumed.samples:
            self._clock.start_speech(delta.pace)
        self._consumed.add_speech(len(delta.pcm) // 2, delta.text_tokens)
        self._clock.add_speech(delta.pcm)

    def end_speech(self, reason: FinishReason) -> None:
        self._consumed.ended = True
        self._stopped_itself = reason == "stop"
        self._complete_clock()

    def _complete_clock(self) -> None:
        """Text and speech belong together only if both are complete and the Talker stopped by itself."""
        if self._words.ended and self._stopped_itself:
            self._clock.complete()

    def timed_words(self, until: int | None = None) -> list[TimedWord]:
        """The words, not given before, that end by sample `until`; all words once text and speech have ended.

        Starts and ends never decrease, and never exceed the speech. Words that were never spoken get its end
        and no length.
        """
        found: list[TimedWord] = []
        while self._given < len(self._ranges):
            word = self._timed(self._given)
            if word is None or (until is not None and word.end > until):
                break
            found.append(word)
            self._last = word
            self._given += 1
        return found

    def is_spoken(self, char: int, sample: int) -> bool:
        """Whether the speech before `sample` reaches the character."""
        start = self.start_of(char)
        return start is not None and start < sample

    def text_before(self, sample: int) -> str:
        """The text that can have been spoken if the speech is cut at `sample`: what was consumed before."""
        return self._words.text[: self._words.chars_of(self._consumed.tokens_before(sample))]

    def _timed(self, index: int) -> TimedWord | None:
        begin, end = self._ranges[index]
        start = self.start_of(self._words.first_char(begin, end))
        stop = self._clock.end_of(end)
        if self._consumed.ended and (stop is None or end == len(self._words.text)):
            stop = self._clock.end
        if start is None or stop is None:
            return None
        start = min(max(start, self._last.start), self._consumed.samples)
        stop = min(max(stop, self._last.end, start), self._consumed.samples)
        return TimedWord(index, self._words.text[begin:end], start, stop)

    def start_of(self, char: int) -> int | None:
        """The sample at which a character is spoken, never before it is consumed. None if not known yet."""
        consumed = self._consumed.start_of(self._words.token_at(char))
        begin = self._clock.begin_of(char)
        if begin is None and self._consumed.ended:
            begin = self._consumed.samples
        return None if consumed is None or begin is None else max(consumed, begin)
