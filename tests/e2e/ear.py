"""A judge of speech small enough for every run: pocketsphinx, told which sentences it may hear.

In: sound at 24 kHz, sentences that differ in what was asked. Out: the one that was heard. It must choose one
of them: what it shows is that the right one sounds more like itself than all others.
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
    """`pocketsphinx`: the module, where it is installed."""

    def __init__(self, pocketsphinx: Any) -> None:
        self._decoder = pocketsphinx.Decoder(samprate=_RATE_HZ, loglevel="FATAL", lm=None, **_BEAMS)

    def hear(self, pcm: bytes, sentences: Sequence[str]) -> str:
        """`pcm`: s16le at 24 kHz; `sentences`: lower case, words alone. Empty where none was heard."""
        grammar = f"#JSGF V1.0;\ngrammar heard;\npublic <heard> = {' | '.join(sentences)} ;"
        self._decoder.add_jsgf_string("heard", grammar)
        self._decoder.activate_search("heard")
        sound = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
        self._decoder.start_utt()
        self._decoder.process_raw(_narrow(sound).tobytes(), full_utt=True)
        self._decoder.end_utt()
        heard = self._decoder.hyp()
        return str(heard.hypstr) if heard else ""


def _narrow(sound: NDArray[np.float32]) -> NDArray[np.int16]:
    """16 kHz, with a pause around."""
    narrow = np.pad(resampled(sound, 2, 3), _PAUSE)
    return (np.clip(narrow, -1, 1) * 30_000).astype("<i2")
