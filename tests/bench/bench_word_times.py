"""How far the words of antiphon-nano's answers are timed from where they are heard, whole and streamed.

In: how many answers. Out: quantiles of the error of each word's start, against a forced alignment by
pocketsphinx; and of when the words had been taken in, for comparison. It checks nothing.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path
from typing import Any

import openai
import pocketsphinx  # type: ignore[import-untyped]
from tests.e2e.answers import SPOKEN, STREAMED, ask, said, timed
from tests.e2e.ear import Ear
from tests.e2e.server_process import start_server, terminate

from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from antiphon_executor.shipped import ANTIPHON_NANO
from antiphon_nano.domain import answers, corpus
from antiphon_nano.thinker.asking import copying

CHUNK = 4
"""Tokens that are taken in together, and frames that follow: the checkpoint's."""
FORMS: dict[str, dict[str, Any]] = {
    "whole": timed({**SPOKEN, "audio": {"format": "wav"}}),
    "streamed": timed({**STREAMED, "audio": {"format": "pcm16"}}),
}


def taken_in(text: str) -> list[float]:
    """When each word enters: words and marks are one token each."""
    units = corpus.units(text)
    places = [place for place, unit in enumerate(units) if unit.isalpha()]
    return [place // CHUNK * CHUNK * SAMPLES_PER_FRAME / OUTPUT_SAMPLE_RATE_HZ for place in places]


def errors(
    client: openai.OpenAI, ear: Ear, form: dict[str, Any], count: int
) -> tuple[list[float], list[float]]:
    """Of the words' starts, and of when they are taken in."""
    timed_off, taken_off = [], []
    template = answers.written(copying.READ[0])
    for number, text in enumerate(corpus.held_out(count)):
        audio = {**form["audio"], "voice": ("heart", "deep")[number % 2]}
        answer = ask(client, said(template.format(text)), max_tokens=96, **{**form, "audio": audio})
        heard = ear.word_starts(answer.pcm, re.findall(r"[a-z]+", answer.text.lower()))
        if heard is not None and len(heard) == len(answer.words):
            starts = [word["start"] for word in answer.words]
            timed_off += [abs(start - true) for start, true in zip(starts, heard, strict=True)]
            taken_off += [abs(start - true) for start, true in zip(taken_in(answer.text), heard, strict=True)]
    return sorted(timed_off), sorted(taken_off)


def told(name: str, found: list[float]) -> None:
    shares = ", ".join(f"{share:.0%} {found[int(len(found) * share)]:.3f} s" for share in (0.5, 0.9, 0.99))
    print(f"{name}: {len(found)} words, {shares}, worst {found[-1]:.2f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(ANTIPHON_NANO, Path(folder) / "log", "--max-model-len", "4096")
        try:
            for name, form in FORMS.items():
                found, taken = errors(server.client(), Ear(pocketsphinx), form, arguments.count)
                told(name, found)
            told("when they had been taken in", taken)
        finally:
            terminate(server)


if __name__ == "__main__":
    main()
