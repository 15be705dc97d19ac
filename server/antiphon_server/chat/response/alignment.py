"""Which text of an answer is said at which sample of its speech.

In: text and speech as they come, in any order. Out: words with their samples, the text up to a sample. Pure.
When the Talker takes a word in is known exactly; it is said after that, often seconds later. How much later
is an estimate (`word_clock`), which never goes below that bound.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from antiphon_executor.interface.events import OmniEvent, SpeechDelta, SpeechEnded, TextDelta, TextEnded
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
    """`text`: with the white space behind it. It is said from sample `start` up to `end`, by an estimate."""

    index: int
    text: str
    start: int
    end: int


class ConsumedTokens:
    """The speech's side: at which sample which tokens enter. A step is the piece that brings more of them."""

    def __init__(self) -> None:
        self.samples = 0
        self.ended = False
        self._starts: list[int] = []
        self._tokens: list[int] = []

    def add(self, samples: int, tokens: int) -> None:
        """A piece of speech, and how many tokens have entered by its end."""
        if tokens > (self._tokens[-1] if self._tokens else 0):
            self._starts.append(self.samples)
            self._tokens.append(tokens)
        self.samples += samples

    def tokens_before(self, sample: int) -> int:
        """How many tokens the pieces that begin before `sample` have taken in."""
        steps = bisect_left(self._starts, sample)
        return self._tokens[steps - 1] if steps else 0

    def start_of(self, token: int) -> int | None:
        """Where the token (from 1) enters; the end of the speech where it never does. None: not known yet."""
        step = bisect_left(self._tokens, token)
        if step < len(self._starts):
            return self._starts[step]
        return self.samples if self.ended else None


class Words:
    """The text's side: which characters belong to which token, and where words begin.

    A word ends where white space does. In scripts without any, it ends with its token.
    """

    def __init__(self) -> None:
        self.text = ""
        self.ended = False
        self._ends: list[int] = []
        self._begin = 0
        self._scanned = 0

    def add(self, text: str, ends: tuple[int, ...]) -> None:
        self.text += text
        self._ends += ends

    def token_at(self, char: int) -> int:
        """The token (from 1) that completes the character; one that never enters where none does."""
        return bisect_right(self._ends, char) + 1

    def chars_of(self, tokens: int) -> int:
        """How many characters the first `tokens` tokens are."""
        return self._ends[min(tokens, len(self._ends)) - 1] if tokens and self._ends else 0

    def cut(self) -> Iterator[tuple[int, int]]:
        """Characters `[begin, end)` of the words that have become complete, each once."""
        for at in range(max(self._scanned, 1), len(self.text)):
            if self._begins_word(at):
                yield self._begin, at
                self._begin = at
        self._scanned = len(self.text)
        if self.ended and self._begin < len(self.text):
            yield self._begin, len(self.text)
            self._begin = len(self.text)

    def first_char(self, begin: int, end: int) -> int:
        """The first one of a word that is no white space; its beginning where all is."""
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
    """One spoken answer. `see` its events; `words` gives each word once, when its end is known."""

    def __init__(self) -> None:
        self._intake = ConsumedTokens()
        self._words = Words()
        self._clock = WordClock()
        self._cuts: list[tuple[int, int]] = []
        self._given = 0
        self._last = TimedWord(-1, "", 0, 0)
        self._stopped_itself = False

    @property
    def samples(self) -> int:
        """Of the speech so far."""
        return self._intake.samples

    def see(self, event: OmniEvent) -> None:
        match event:
            case TextDelta():
                self._words.add(event.text, event.spoken_ends)
                self._clock.add_text(event.text)
            case TextEnded():
                self._words.ended = True
            case SpeechDelta():
                if not self._intake.samples:
                    self._clock.begin(event.pace)
                self._intake.add(len(event.pcm) // 2, event.text_tokens)
                self._clock.add_sound(event.pcm)
            case SpeechEnded():
                self._intake.ended = True
                self._stopped_itself = event.finish_reason == "stop"
        if isinstance(event, TextEnded | SpeechEnded) and self._words.ended and self._stopped_itself:
            self._clock.complete()
        self._cuts += self._words.cut()

    def words(self, until: int | None = None) -> list[TimedWord]:
        """Those not given before that end by sample `until`; all that is left, once both sides have ended.

        Starts and ends never go back, nor beyond the sound. What the speech never said stands at its end and
        has no length.
        """
        found: list[TimedWord] = []
        while self._given < len(self._cuts):
            word = self._timed(self._given)
            if word is None or (until is not None and word.end > until):
                break
            found.append(word)
            self._last = word
            self._given += 1
        return found

    def is_said(self, char: int, sample: int) -> bool:
        """Whether the speech before `sample` begins to say the character."""
        start = self._start_of(char)
        return start is not None and start < sample

    def text_before(self, sample: int) -> str:
        """What can have been said where the speech is cut at `sample`: the text taken in before."""
        return self._words.text[: self._words.chars_of(self._intake.tokens_before(sample))]

    def _timed(self, index: int) -> TimedWord | None:
        begin, end = self._cuts[index]
        start = self._start_of(self._words.first_char(begin, end))
        stop = self._clock.end_of(end)
        if self._intake.ended and (stop is None or end == len(self._words.text)):
            stop = self._clock.end
        if start is None or stop is None:
            return None
        start = min(max(start, self._last.start), self._intake.samples)
        stop = min(max(stop, self._last.end, start), self._intake.samples)
        return TimedWord(index, self._words.text[begin:end], start, stop)

    def _start_of(self, char: int) -> int | None:
        """Where the character is said, and not before it is taken in. None: not known yet."""
        taken_in = self._intake.start_of(self._words.token_at(char))
        begin = self._clock.begin_of(char)
        if begin is None and self._intake.ended:
            begin = self._intake.samples
        return None if taken_in is None or begin is None else max(taken_in, begin)
