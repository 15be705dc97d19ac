"""A speech recognizer small enough for every run: pocketsphinx, which chooses one of several given sentences.

A correct choice shows that the speech sounds more like the right sentence than like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from antiphon_nano.thinker.hearing.resampling import resampled

_RATE_HZ = 16_000
_PAUSE = _RATE_HZ // 4
# As narrow as fits: of 48 sentences these lost none, its own (1e-48) six, all in short last words.
_BEAMS = {"beam": 1e-30, "pbeam": 1e-30, "wbeam": 1e-20}


class Ear:
    """`pocketsphinx`: the module, if it is installed."""

    def __init__(self, pocketsphinx: Any) -> None:
        self._decoder = pocketsphinx.Decoder(samprate=_RATE_HZ, loglevel="FATAL", lm=None, **_BEAMS)
        self._aligner = pocketsphinx.Decoder(samprate=_RATE_HZ, loglevel="FATAL", lm=None)

    def knows(self, words: Sequence[str]) -> bool:
        """Whether all of them, in lower case, are in the dictionary."""
        return all(self._aligner.lookup_word(word) is not None for word in words)

    def word_starts(self, pcm: bytes, words: Sequence[str]) -> list[float] | None:
        """The second at which each of `words` (lower case), spoken one after the other, begins.

        None where one of them is not in the dictionary, or they cannot be found.
        """
        if not self.knows(words):
            return None
        self._aligner.set_align_text(" ".join(words))
        self._aligner.start_utt()
        self._aligner.process_raw(_narrow(_samples(pcm)).tobytes(), full_utt=True)
        self._aligner.end_utt()
        heard = self._aligner.hyp()
        if heard is None:
            return None
        found = [s for s in self._aligner.seg() if s.word[0] not in "<["]
        if [segment.word.partition("(")[0] for segment in found] != list(words):
            return None
        return [segment.start_frame / 100 - _PAUSE / _RATE_HZ for segment in found]

    def hear(self, pcm: bytes, sentences: Sequence[str]) -> str:
        """`pcm`: s16le at 24 kHz; `sentences`: lower case, words only. Empty if none was recognised."""
        grammar = f"#JSGF V1.0;\ngrammar heard;\npublic <heard> = {' | '.join(sentences)} ;"
        self._decoder.add_jsgf_string("heard", grammar)
        self._decoder.activate_search("heard")
        self._decoder.start_utt()
        self._decoder.process_raw(_narrow(_samples(pcm)).tobytes(), full_utt=True)
        self._decoder.end_utt()
        heard = self._decoder.hyp()
        return str(heard.hypstr) if heard else ""


def _samples(pcm: bytes) -> NDArray[np.float32]:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)


def _narrow(sound: NDArray[np.float32]) -> NDArray[np.int16]:
    """16 kHz, with a pause around."""
    narrow = np.pad(resampled(sound, 2, 3), _PAUSE)
    return (np.clip(narrow, -1, 1) * 30_000).astype("<i2")
