"""Gates, `python -m antiphon_nano.judging.gates REPORT STAGE`: is a stage good enough for the next one?

Exits with 1 if a figure of the report misses its bound. Bounds on word error rate are relative to speech that
the same judge heard, so that the judge's own errors cancel out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Gate:
    """The word error rate of `figure` is at most `points` above that of `reference`."""

    figure: str
    reference: str
    points: float

    def verdict(self, report: Mapping[str, Mapping[str, float]]) -> tuple[bool, str]:
        """Returns (passed, explanation). Raises KeyError if a figure is missing."""
        ours, theirs = report[self.figure]["wer"], report[self.reference]["wer"]
        over = ours - theirs
        told = f"{self.figure} {ours:.1f} % against {self.reference} {theirs:.1f} %"
        return over <= self.points, f"{told}: {over:+.1f} points of at most {self.points:+.1f}"


@dataclass(frozen=True, slots=True)
class Floor:
    """`field` of `figure` is at least `least`."""

    figure: str
    field: str
    least: float

    def verdict(self, report: Mapping[str, Mapping[str, float]]) -> tuple[bool, str]:
        """Returns (passed, explanation). Raises KeyError if a figure is missing."""
        ours = report[self.figure][self.field]
        return ours >= self.least, f"{self.figure}: {self.field} {ours:.1f} of at least {self.least:.1f}"


@dataclass(frozen=True, slots=True)
class Ceiling:
    """`field` of `figure` is at most `most`."""

    figure: str
    field: str
    most: float

    def verdict(self, report: Mapping[str, Mapping[str, float]]) -> tuple[bool, str]:
        """Returns (passed, explanation). Raises KeyError if a figure is missing."""
        ours = report[self.figure][self.field]
        return ours <= self.most, f"{self.figure}: {self.field} {ours:.1f} of at most {self.most:.1f}"


GATES: Mapping[str, tuple[Gate | Floor | Ceiling, ...]] = {
    "codec": (Gate("codec", "held-heart", 6.0), Floor("codes", "code0_perplexity", 100.0)),
    "vocoder": (Gate("vocoder-held-heart", "held-heart", 10.0),),
    "polished": (Gate("polished-held-heart", "vocoder-held-heart", 1.0),),
    "served": (
        Floor("served arithmetic", "right", 98.0),
        Floor("served pictures", "right", 95.0),
        Floor("served videos", "right", 90.0),
        Floor("served spoken questions, teacher", "right", 95.0),
        Floor("served spoken questions, other voices", "right", 80.0),
        Ceiling("served transcription, teacher", "wer", 10.0),
        Gate("served-answers", "teacher-answers", 10.0),
        Gate("served-read, sentences", "natural-heart, all, sentences", 10.0),
        Gate("served-unseen", "unseen-heart", 25.0),
        Floor("served-closed, word heard", "right", 95.0),
        Ceiling("served runaways", "runaways", 0.0),
    ),
    "towers": (Floor("eyes alone", "right", 95.0), Ceiling("ears alone, heart", "wer", 20.0)),
    "thinker": (
        Floor("arithmetic", "right", 98.0),
        Floor("pictures", "right", 95.0),
        Floor("videos", "right", 90.0),
        Floor("spoken questions, teacher", "right", 95.0),
        Floor("spoken questions, other voices", "right", 80.0),
        Ceiling("transcription, teacher", "wer", 10.0),
    ),
    "talker": (
        Gate("predictor", "held-heart", 15.0),
        Gate("talker, sentences", "natural-heart, sentences", 10.0),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("stage", choices=sorted(GATES))
    arguments = parser.parse_args()
    report = json.loads(arguments.report.read_text())
    verdicts = [gate.verdict(report) for gate in GATES[arguments.stage]]
    for passed, told in verdicts:
        print(f"{'passed' if passed else 'FAILED'}: {told}")
    raise SystemExit(0 if all(passed for passed, _ in verdicts) else 1)


if __name__ == "__main__":
    main()
