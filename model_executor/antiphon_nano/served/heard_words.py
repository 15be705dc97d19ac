"""Deciding words, `python -m antiphon_nano.served.heard_words REPORT SHARD`: how many the judge understood.

Reads a judged shard of closed questions, and the deciding words beside it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from antiphon_nano.judging import transcript
from antiphon_nano.judging.report import record
from antiphon_nano.served.speech_exam import WORDS


def share(words: Sequence[str], heard: Sequence[str]) -> float:
    """Percent of transcripts that contain their word in any spelling. Raises ValueError if lengths differ."""
    found = [
        f" {' '.join(transcript.words_of(word))} " in f" {' '.join(transcript.words_of(text))} "
        for word, text in zip(words, heard, strict=True)
    ]
    return 100 * sum(found) / len(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("shard", type=Path)
    arguments = parser.parse_args()
    path: Path = arguments.shard
    words = json.loads(path.with_name(path.name + WORDS).read_text())
    heard = [text for _, text in json.loads(path.with_suffix(".heard.json").read_text())]
    told = {"right": round(share(words[: len(heard)], heard), 2), "asked": len(heard)}
    record(arguments.report, f"{path.name}, word heard", told)


if __name__ == "__main__":
    main()
