"""Measures the error of word timestamps in answers of antiphon-nano, as a whole file and as a stream.

It prints quantiles of the error of each word's start against a forced alignment by pocketsphinx. For
comparison it prints the error of the time at which the Talker consumed the word. It checks nothing.
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
"""Text tokens that the checkpoint consumes together, and the frames that follow them."""
FORMS: dict[str, dict[str, Any]] = {
    "whole": timed({**SPOKEN, "audio": {"format": "wav"}}),
    "streamed": timed({**STREAMED, "audio": {"format": "pcm16"}}),
}


def consumed_at(text: str) -> list[float]:
    """When each word is consumed, in seconds of audio: words and punctuation are one token each."""
    units = corpus.units(text)
    places = [place for place, unit in enumerate(units) if unit.isalpha()]
    return [place // CHUNK * CHUNK * SAMPLES_PER_FRAME / OUTPUT_SAMPLE_RATE_HZ for place in places]


def errors(
    client: openai.OpenAI, ear: Ear, form: dict[str, Any], count: int
) -> tuple[list[float], list[float]]:
    """Sorted errors of the word starts, and of the times at which words are consumed, in seconds."""
    start_errors, consumed_errors = [], []
    template = answers.written(copying.READ[0])
    for number, text in enumerate(corpus.held_out(count)):
        audio = {**form["audio"], "voice": ("heart", "deep")[number % 2]}
        answer = ask(client, said(template.format(text)), max_tokens=96, **{**form, "audio": audio})
        heard = ear.word_starts(answer.pcm, re.findall(r"[a-z]+", answer.text.lower()))
        if heard is not None and len(heard) == len(answer.words):
            starts = [word["start"] for word in answer.words]
            start_errors += [abs(start - true) for start, true in zip(starts, heard, strict=True)]
            consumed = consumed_at(answer.text)
            consumed_errors += [abs(start - true) for start, true in zip(consumed, heard, strict=True)]
    return sorted(start_errors), sorted(consumed_errors)


def print_quantiles(name: str, found: list[float]) -> None:
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
                found, consumed = errors(server.client(), Ear(pocketsphinx), form, arguments.count)
                print_quantiles(name, found)
            print_quantiles("when the words were consumed", consumed)
        finally:
            terminate(server)


if __name__ == "__main__":
    main()
