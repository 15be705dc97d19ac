"""Benchmark of antiphon-nano's spoken answers, cut at random tokens and whole: too long, lost words, changes.

It prints each answer that is out of bounds, and compares whole answers sample by sample with those of a
server without the rules for cut texts. It exits with 1 if an answer is too long or a whole one differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import openai
import pocketsphinx  # type: ignore[import-untyped]
from tests.e2e.answers import SPOKEN, ask, said
from tests.e2e.ear import Ear
from tests.e2e.server_process import RunningServer, start_server, terminate

from antiphon_executor.shipped import ANTIPHON_NANO
from antiphon_nano.domain import answers, corpus
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.thinker.asking import copying

LEFT_ALONE = ("--engine.talker.guard.cut-text", "leave", "--engine.talker.guard.cut-stretch", "1000")
DERAILED = "antiphon_speech_derailed_total"
WORD_S, SPARE_S = 0.6, 1.0


@dataclass(frozen=True)
class SpokenAnswer:
    """One answer. `lost`: words that the recogniser misses at its end. `sound`: a digest of the audio."""

    number: int
    text: str
    finish: str
    seconds: float
    lost: int
    sound: str

    @property
    def is_too_long(self) -> bool:
        return self.seconds > SPARE_S + WORD_S * len(self.text.split())


def questions(count: int) -> Iterator[tuple[int, str, int, str]]:
    """Number, question, tokens of its answer, voice."""
    tokenizer, form = nano_tokenizer(), answers.written(copying.READ[0])
    for number, text in enumerate(corpus.held_out(count)):
        voice = random.Random(f"cut answer {number}").choice(("heart", "deep"))
        yield number, form.format(text), len(tokenizer.encode(text)), voice


def speak(
    client: openai.OpenAI, ear: Ear, number: int, question: str, voice: str, **limits: Any
) -> SpokenAnswer:
    form = {**SPOKEN, "audio": {"voice": voice, "format": "wav"}}
    answer = ask(client, said(question), seed=number, **limits, **form)
    lost = lost_words(ear, answer.pcm, corpus.units(answer.text))
    digest = hashlib.sha256(answer.pcm).hexdigest()[:16]
    return SpokenAnswer(number, answer.text, answer.finish_reason, len(answer.pcm) / 48_000, lost, digest)


def lost_words(ear: Ear, pcm: bytes, units: list[str]) -> int:
    """How many of the last two words are missing in the best alignment of the recogniser."""
    words = [unit.lower() for unit in units if unit.isalpha()]
    if len(words) < 2 or not ear.knows(words):
        return 0
    choices = [words[: len(words) - lost] for lost in range(min(3, len(words)))]
    heard = ear.hear(pcm, [" ".join(choice) for choice in choices]).split()
    return len(words) - len(heard) if heard else 0


def collect_answers(server: RunningServer, count: int, *, cut: bool, save: Path) -> list[SpokenAnswer]:
    """The answers; those that `save` already contains are not requested again."""
    done = (
        [SpokenAnswer(**json.loads(line)) for line in save.read_text().splitlines()] if save.exists() else []
    )
    known = {one.number for one in done}
    client, ear = server.client(), Ear(pocketsphinx)
    with save.open("a") as file:
        for number, question, tokens, voice in questions(count):
            if number in known:
                continue
            chance = random.Random(f"cut at {number}")
            most = chance.randint(1, max(1, tokens - 1)) if cut else 96
            done.append(speak(client, ear, number, question, voice, max_tokens=most))
            file.write(json.dumps(asdict(done[-1])) + "\n")
            file.flush()
    return done


def report(name: str, found: list[SpokenAnswer]) -> list[SpokenAnswer]:
    on = [one for one in found if one.is_too_long]
    lost = sum(one.lost > 0 for one in found)
    words = sum(len(one.text.split()) for one in found)
    print(f"{name}: {len(found)} answers, {words} words, {sum(one.seconds for one in found):.0f} s; "
          f"too long: {len(on)}; answers with missing last words: {lost}", flush=True)  # fmt: skip
    for one in on:
        print(f"  {one}", flush=True)
    return on


def answers_of_server(
    flags: list[str], folder: Path, name: str, count: int, kinds: Sequence[str]
) -> dict[str, list[SpokenAnswer]]:
    """The answers of a server with `flags`, by kind."""
    server = start_server(ANTIPHON_NANO, folder / f"{name}.log", *flags)
    try:
        found = {
            kind: collect_answers(server, count, cut=kind == "cut", save=folder / f"{name}-{kind}.jsonl")
            for kind in kinds
        }
        ended = sum(value for (key, _), value in server.metrics().items() if key == DERAILED)
        print(f"{name}: ended by the guard: {ended:.0f}", flush=True)
        return found
    finally:
        terminate(server)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--folder", type=Path, help="folder for results, so that a stopped run can continue")
    parser.add_argument("--only", choices=("cut", "whole"))
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    flags = ["--dtype", arguments.dtype, "--max-model-len", "4096"]
    kinds = (arguments.only,) if arguments.only else ("cut", "whole")
    found = answers_of_server(flags, folder, arguments.dtype, arguments.count, kinds)
    bad = report("cut", found["cut"]) if "cut" in kinds else []
    if "whole" in kinds:
        report("whole", found["whole"])
        alone = answers_of_server(
            [*flags, *LEFT_ALONE], folder, f"{arguments.dtype}-alone", arguments.count, ("whole",)
        )
        pairs = zip(found["whole"], alone["whole"], strict=True)
        changed = [one for one, other in pairs if one.sound != other.sound]
        print(f"whole: {len(changed)} differ without the rules")
        bad += changed
    return int(bool(bad))


if __name__ == "__main__":
    raise SystemExit(main())
