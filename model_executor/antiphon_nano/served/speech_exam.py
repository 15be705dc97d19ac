"""What the served model is made to say aloud, for the judge: answers, held-out texts, unseen shapes, words.

In: how many, the exams in text. Out: `Set`s of dialogues, each a shard to be; `write` makes it. In closed
questions one word decides: `words` tells it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from antiphon_nano.domain import answers, corpus
from antiphon_nano.served.examinee import Spoken
from antiphon_nano.teacher import shard
from antiphon_nano.teacher.shard import FRAME_SAMPLES, Utterance
from antiphon_nano.thinker.asking import copying, numbers, talks
from antiphon_nano.thinker.dialogue import Dialogue, Turn
from antiphon_nano.thinker.exams.exams import Exam
from antiphon_nano.thinker.seeing import pictures

WORDS = ".words.json"
"""Ending of the file beside a shard of closed questions."""
READ = "served-read"
_NEVER_NEW = ("self", "refusal")
"""Exams whose answers have been spoken in training as they are."""
_UNSEEN = "read aloud, unseen shapes"


@dataclass(frozen=True, slots=True)
class Set:
    """`words`: of each dialogue the word that must be heard; none where it is not a closed question."""

    name: str
    dialogues: tuple[Dialogue, ...]
    words: tuple[str, ...] = ()


def sets(most: int, written: Sequence[Exam]) -> list[Set]:
    """`most`: answers to the questions of the exams `written`, from all of them alike; and as many held-out
    texts to be read aloud, in the order in which the teacher has read them.
    """
    closed = _closed(random.Random("served closed"), most // 2)
    return [
        Set("served-answers", _answers(written, most)),
        Set(READ, _read(corpus.held_out(most))),
        Set("served-unseen", _read(corpus.unseen(60)[: max(1, most // 3)])),
        Set("served-closed", tuple(d for d, _ in closed), tuple(word for _, word in closed)),
    ]


def endless(count: int) -> list[Dialogue]:
    """Typed dialogues of every kind: does any answer run away?"""
    return [talks.talk(random.Random(f"served talk {number}")) for number in range(count)]


def write(path: Path, answered: Sequence[Spoken], words: Sequence[str], voice: str = "heart") -> None:
    """A shard whose texts are the model's own transcripts; what is left of a frame is filled with silence."""
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


def _closed(chance: random.Random, count: int) -> list[tuple[Dialogue, str]]:
    """Sums worded as never trained, and the colour of the only thing in a picture."""
    found: list[tuple[Dialogue, str]] = []
    while len(found) < count:
        if len(found) % 2:
            scene = pictures.scene(chance)
            if len(scene.things) != 1:
                continue
            asked = pictures.asked_colour(scene, chance)
            turn = Turn((pictures.show(scene, chance), asked.question), asked.answer)
            found.append((Dialogue((turn,), "colour"), scene.things[0].colour))
        else:
            asked = numbers.judged_sum(chance, "plus", "minus")
            turn = Turn((asked.question,), asked.answer)
            result = asked.answer.rpartition(" is ")[2].rstrip(".")
            found.append((Dialogue((turn,), "sum"), result))
    return found
