"""Stage 1, `python -m antiphon_nano.teacher.synthesis FOLDER`: hours of aligned speech of the teacher.

Writes training shards of both voices and held-out shards to FOLDER, and skips those that exist. `--part I/N`
makes every N-th, so that several processes can share the work.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from antiphon_nano.domain import corpus
from antiphon_nano.teacher import shard
from antiphon_nano.teacher.hibari import DEEP, HEART, Teacher, Voice

SHARDS = 32
UTTERANCES = 512
"""Utterances of a shard, about 28 minutes."""
DEEP_EVERY = 6
HELD_OUT = 200
UNSEEN = 60


def make(teacher: Teacher, path: Path, texts: Iterable[str], voice: Voice, wanted: int) -> None:
    """Speaks `wanted` of `texts` into the shard at `path`. Texts that cannot be aligned are skipped."""
    began = time.monotonic()
    utterances, sounds, frames = [], [], 0
    for text in texts:
        try:
            spoken = teacher.speak(text, voice)
        except ValueError as error:
            print(f"skipped: {error}", file=sys.stderr)
            continue
        utterances.append(spoken.utterance(text, voice, frames))
        sounds.append(spoken.sound)
        frames += utterances[-1].frames
        if len(utterances) == wanted:
            break
    shard.write(path, utterances, sounds)
    seconds = frames * shard.FRAME_SAMPLES / shard.SAMPLE_RATE_HZ
    took = time.monotonic() - began
    print(f"{path.name}: {len(utterances)} utterances, {seconds / 60:.1f} min, in {took:.0f} s", flush=True)


def make_natural(teacher: Teacher, path: Path, texts: list[str]) -> None:
    """The teacher's own readings of `texts`, padded to whole frames: the second reference of the judge."""
    utterances, sounds, frames = [], [], 0
    for text in texts:
        sound = teacher.natural(text)
        length = -(-len(sound) // shard.FRAME_SAMPLES)
        sound.resize(length * shard.FRAME_SAMPLES, refcheck=False)
        utterances.append(shard.Utterance(text, HEART.name, frames, length, [], []))
        sounds.append(sound)
        frames += length
    shard.write(path, utterances, sounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", default="0/1", help="I/N: shards whose number modulo N is I")
    arguments = parser.parse_args()
    part, parts = map(int, arguments.part.split("/"))
    teacher = Teacher()
    if part == 0:
        _make_held_out(teacher, arguments.folder)
    for number in range(part, SHARDS, parts):
        path = arguments.folder / f"train-{number:03d}"
        if not path.with_suffix(".json").exists():
            voice = DEEP if number % DEEP_EVERY == DEEP_EVERY - 1 else HEART
            make(teacher, path, corpus.trained(number), voice, UTTERANCES)


def _make_held_out(teacher: Teacher, folder: Path) -> None:
    texts = corpus.held_out(HELD_OUT)
    for name, spoken, voice in (
        ("held-heart", texts, HEART),
        ("held-deep", texts[: HELD_OUT // 2], DEEP),
        ("unseen-heart", corpus.unseen(UNSEEN), HEART),
    ):
        if not (folder / f"{name}.json").exists():
            make(teacher, folder / name, islice(spoken, None), voice, len(spoken))
    if not (folder / "natural-heart.json").exists():
        make_natural(teacher, folder / "natural-heart", texts)


if __name__ == "__main__":
    main()
