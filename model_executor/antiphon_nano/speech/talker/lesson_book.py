"""The Talker's lessons from recordings, each with a voice prompt and a conversation before the answer.

The conversations are random, because the Talker speaks its text whatever the question was. Media are zero
embeddings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from transformers import Qwen2Tokenizer

from antiphon_executor.models.qwen3_5_omni.presets import NANO_MEDIA_ROWS
from antiphon_nano.speech.recordings import Recordings, step_rng
from antiphon_nano.speech.talker.lesson import NOTHING, Lesson
from antiphon_nano.teacher.shard import Utterance

ROWS = 1000
"""Approximate rows of a batch."""
REFERENCE_FRAMES = (12, 20)
_TURNS = (1, 1, 1, 2, 3)
"""Numbers of user turns in a prompt. Earlier answers are left out of prompts."""
_QUESTION_TOKENS = 24
_MEDIA_SHARE = 0.5
_STAMPS = 40
"""Upper bound of further zero rows: the timestamps of a video, which are not spoken."""
_LOT = 64
"""Utterances drawn together and sorted, so that the streams of a batch have about the same length."""


class LessonBook:
    """Lessons by step. The same step gives the same lessons."""

    def __init__(self, recordings: Recordings, tokenizer: Qwen2Tokenizer) -> None:
        self._recordings = recordings
        self._tokenizer = tokenizer
        self._ids: Mapping[str, int] = tokenizer.get_vocab()
        self._texts: dict[int, tuple[int, ...]] = {}
        self._by_voice: dict[str, list[int]] = {}
        for index in range(len(recordings)):
            self._by_voice.setdefault(recordings.utterance(index).voice, []).append(index)

    def lessons(self, step: int, conversation: bool) -> list[Lesson]:
        """One batch. `conversation`: with user turns in the prompt, as in serving."""
        rng = step_rng(2, step)
        lot = self._recordings.drawn(rng, _LOT)
        lot.sort(key=self._rows)
        start = int(rng.integers(len(lot)))
        return [self._lesson(index, rng, conversation) for index in self._neighbours(lot, start)]

    def lesson(self, index: int, conversation: bool = True) -> Lesson:
        """The lesson of one utterance, with a prompt drawn by its index."""
        return self._lesson(index, step_rng(3, index), conversation)

    def _neighbours(self, lot: Sequence[int], start: int) -> Iterator[int]:
        longest = 0
        for count, index in enumerate((*lot[start:], *lot[:start][::-1]), start=1):
            longest = max(longest, self._rows(index))
            if count > 1 and count * longest > ROWS:
                return
            yield index

    def _rows(self, index: int) -> int:
        utterance = self._recordings.utterance(index)
        return utterance.frames + len(utterance.starts) + REFERENCE_FRAMES[1] + 8

    def _lesson(self, index: int, rng: np.random.Generator, conversation: bool) -> Lesson:
        utterance = self._recordings.utterance(index)
        return Lesson(
            opening=(self._ids["<|im_start|>"], *self._tokenizer.encode("system\n")),
            voice=self._reference(utterance, rng),
            closing=self._closing(rng, conversation),
            text=(*self._text(index), self._ids["<tts_text_eod>"]),
            starts=tuple(utterance.starts),
            codes=self._recordings.codes(index).numpy(),
            phonemes=np.array(utterance.phonemes),
        )

    def _text(self, index: int) -> tuple[int, ...]:
        if index not in self._texts:
            self._texts[index] = tuple(self._tokenizer.encode(self._recordings.utterance(index).text))
        return self._texts[index]

    def _reference(self, utterance: Utterance, rng: np.random.Generator) -> np.ndarray:
        others = self._by_voice[utterance.voice]
        codes = self._recordings.codes(others[int(rng.integers(len(others)))]).numpy()
        length = min(len(codes), int(rng.integers(REFERENCE_FRAMES[0], REFERENCE_FRAMES[1] + 1)))
        start = int(rng.integers(len(codes) - length + 1))
        return codes[start : start + length]

    def _closing(self, rng: np.random.Generator, conversation: bool) -> tuple[int, ...]:
        line = self._tokenizer.encode("\n")
        ids = [self._ids["<|im_end|>"], *line]
        turns = int(rng.choice(_TURNS)) if conversation else 0
        for turn in range(turns):
            rows = NANO_MEDIA_ROWS if not turn else 0
            ids += [self._ids["<|im_start|>"], self._ids["user"], *line, *self._question(rng, rows)]
            ids += [self._ids["<|im_end|>"], *line]
        ids += [self._ids["<|im_start|>"], self._ids["assistant"], *line]
        return (*ids, self._ids["<tts_text_bos>"])

    def _question(self, rng: np.random.Generator, most: int) -> list[int]:
        """`most`: limit on rows of media, as in serving."""
        text = self._text(int(rng.integers(len(self._recordings))))
        words = list(text[: int(rng.integers(1, _QUESTION_TOKENS))])
        if not most or rng.random() >= _MEDIA_SHARE:
            return words
        kind = "audio" if rng.random() < 0.6 else "vision"
        rows = most if rng.random() < 0.5 else int(rng.integers(1, most + 1))
        rows += int(rng.integers(_STAMPS)) if kind == "vision" and rng.random() < 0.4 else 0
        medium = [self._ids[f"<|{kind}_start|>"], *[NOTHING] * rows, self._ids[f"<|{kind}_end|>"]]
        alone = kind == "audio" and rng.random() < 0.5
        return medium if alone else [*medium, *words] if rng.random() < 0.8 else [*words, *medium]
