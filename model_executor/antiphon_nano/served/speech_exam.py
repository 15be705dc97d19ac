"""The spoken part of the evaluation: answers, held-out texts, unseen sentence shapes, closed questions.

Each `SpokenSet` of dialogues becomes one shard. The answer to a closed question depends on one word, kept in
`words`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from antiphon_nano.domain import answers, corpus
from antiphon_nano.served.examinee import SpokenAnswer
from antiphon_nano.teacher import shard
from antiphon_nano.teacher.shard import FRAME_SAMPLES, Utterance
from antiphon_nano.thinker.asking import copying, numbers, typed_dialogues
from antiphon_nano.thinker.dialogue import Dialogue, Turn
from antiphon_nano.thinker.exams.exams import Exam
from antiphon_nano.thinker.seeing import pictures

WORDS = ".words.json"
"""Suffix of the file beside a shard of closed questions that holds the deciding words."""
READ = "served-read"
_NEVER_NEW = ("self", "refusal")
"""Exams whose answers are in the Talker's training texts."""
_UNSEEN = "read aloud, unseen shapes"


@dataclass(frozen=True, slots=True)
class SpokenSet:
    """`words`: the deciding word of each dialogue; empty if these are not closed questions."""

    name: str
    dialogues: tuple[Dialogue, ...]
    words: tuple[str, ...] = ()


def sets(most: int, written: Sequence[Exam]) -> list[SpokenSet]:
    """`most` answers to questions of the exams `written`, from all of them equally, and as many held-out
    texts to read aloud, in the order in which the teacher read them.
    """
    closed = _closed(random.Random("served closed"), most // 2)
    return [
        SpokenSet("served-answers", _answers(written, most)),
        SpokenSet(READ, _read(corpus.held_out(most))),
        SpokenSet("served-unseen", _read(corpus.unseen(60)[: max(1, most // 3)])),
        SpokenSet("served-closed", tuple(d for d, _ in closed), tuple(word for _, word in closed)),
    ]


def runaway_check(count: int) -> list[Dialogue]:
    """Typed dialogues of every kind, to count answers whose speech does not end."""
    return [typed_dialogues.talk(random.Random(f"served talk {number}")) for number in range(count)]


def write(path: Path, answered: Sequence[SpokenAnswer], words: Sequence[str], voice: str = "heart") -> None:
    """Writes a shard with the model's own texts. The last frame is filled with silence."""
    utterances, sounds, first = [], [], 0
    for spoken in answered:
        frames = -(-len(spoken.sound) // FRAME_SAMPLES)
        sounds.append(np.pad(spoken.sound, (0, frames * FRAME_SAMPLES - len(spoken.sound))))
        utterances.append(Utterance(spoken.text, voice, first, frames, [], []))
        first += frames
    shard.write(path, utterances, sounds)
    if words:
        path.with_name(path.name + WORDS).write_text(json.dumps(list(words)) + "\n")


def _answers(written: Sequence[Exam], most: int) -> tuple[Dialogue, ...]:
    asked = [exam for exam in written if exam.name not in (*_NEVER_NEW, _UNSEEN)]
    each = -(-most // len(asked))
    drawn = [exam.draw(random.Random(f"served aloud {exam.name}"), each) for exam in asked]
    return tuple(dialogue for row in zip(*drawn, strict=True) for dialogue in row)[:most]


def _read(texts: Sequence[str]) -> tuple[Dialogue, ...]:
    form = answers.written(copying.READ[0])
    return tuple(Dialogue((Turn((form.format(text),), text),), "read") for text in texts)


def _closed(rng: random.Random, count: int) -> list[tuple[Dialogue, str]]:
    """Sums in wordings that were never trained, and the colour of the only thing in a picture."""
    found: list[tuple[Dialogue, str]] = []
    while len(found) < count:
        if len(found) % 2:
            scene = pictures.scene(rng)
            if len(scene.things) != 1:
                continue
            asked = pictures.ask_colour(scene, rng)
            turn = Turn((pictures.show(scene, rng), asked.question), asked.answer)
            found.append((Dialogue((turn,), "colour"), scene.things[0].colour))
        else:
            asked = numbers.judged_sum(rng, "plus", "minus")
            turn = Turn((asked.question,), asked.answer)
            result = asked.answer.rpartition(" is ")[2].rstrip(".")
            found.append((Dialogue((turn,), "sum"), result))
    return found
