"""The exams of the Thinker, each with its gate: dialogues whose last answer is expected.

Exams of spoken questions use the judged recordings.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from antiphon_nano.domain import answers, corpus
from antiphon_nano.thinker.asking import copying, manners, numbers, typed_dialogues
from antiphon_nano.thinker.asking import voice_wording as wording
from antiphon_nano.thinker.asking.numbers import QuestionAnswer
from antiphon_nano.thinker.dialogue import Dialogue, Part, Turn
from antiphon_nano.thinker.hearing.augmentation import heard
from antiphon_nano.thinker.hearing.library import TEACHERS, Library, RecordedLine
from antiphon_nano.thinker.hearing.script import UNHEARD
from antiphon_nano.thinker.lessons import lessons
from antiphon_nano.thinker.lessons.media_sources import RecordedMedia
from antiphon_nano.thinker.seeing import clips, pictures

_SAID = answers.MIXED[0].removeprefix("i see {thing}").removesuffix("{sentence}")


@dataclass(frozen=True, slots=True)
class Exam:
    """`draw`: random generator and count to dialogues. `gate`: minimum percent right; for a transcript, the
    maximum word error rate. `part`: the part of an answer that is marked.
    """

    name: str
    gate: float
    draw: Callable[[random.Random, int], list[Dialogue]]
    transcript: bool = False
    part: Callable[[str], str] = str


def typed() -> list[Exam]:
    """Exams without media. Wordings of sums, and texts to copy, are held out."""
    return [
        Exam("arithmetic", 98, _of(lambda rng: numbers.judged_sum(rng, "plus", "minus"))),
        Exam("products", 98, _of(lambda rng: numbers.judged_sum(rng, "times"))),
        Exam("counting", 98, _of(numbers.ask_count)),
        Exam("read aloud", 98, _copies(corpus.held_out(600)[400:])),
        Exam("read aloud, unseen shapes", 95, _copies(corpus.unseen(200))),
        Exam("self", 98, _of(lambda rng: manners.ask_self(rng, typed=True))),
        Exam("refusal", 95, _of(lambda rng: manners.ask_outside(rng, typed=True))),
        Exam("memory", 95, lambda rng, most: [typed_dialogues.remembering(rng) for _ in range(most)]),
    ]


def every(library: Library) -> list[Exam]:
    """All exams. `library`: the judged recordings, with held-out sentences and sums."""
    others = [voice for voice in library.voices if voice not in (*TEACHERS, UNHEARD)]
    taught = [voice for voice in library.voices if voice in TEACHERS]
    source = RecordedMedia(library)
    return [
        *typed(),
        Exam("pictures", 95, lambda rng, most: [_picture(rng) for _ in range(most)]),
        Exam("videos", 90, lambda rng, most: [_clip(rng) for _ in range(most)]),
        Exam("sounds", 90, lambda rng, most: [lessons.sounding(source, rng) for _ in range(most)]),
        Exam("spoken questions, teacher", 95, _questions(library, taught)),
        Exam("spoken questions, other voices", 80, _questions(library, others)),
        Exam("spoken questions, an unheard voice", 80, _questions(library, [UNHEARD])),
        Exam("transcription, teacher", 10, _sentences(library, taught), transcript=True),
        Exam("transcription, other voices", 30, _sentences(library, others), transcript=True),
        *picture_and_speech(library),
    ]


def picture_and_speech(library: Library) -> list[Exam]:
    """One question about picture and speech. Each half is marked as in the exam of its kind."""

    def draw(rng: random.Random, most: int) -> list[Dialogue]:
        return [_mixed(library, rng) for _ in range(most)]

    return [
        Exam("picture and speech, the picture", 95, draw, part=_seen),
        Exam("picture and speech, the speech", 10, draw, transcript=True, part=_said),
    ]


def _of(maker: Callable[[random.Random], QuestionAnswer]) -> Callable[[random.Random, int], list[Dialogue]]:
    return lambda rng, most: [_typed(maker(rng)) for _ in range(most)]


def _typed(asked: QuestionAnswer) -> Dialogue:
    return Dialogue((Turn((asked.question,), asked.answer),), asked.kind)


def _copies(texts: list[str]) -> Callable[[random.Random, int], list[Dialogue]]:
    return lambda rng, most: [_typed(copying.ask_copy(rng, text)) for text in texts[:most]]


def _picture(rng: random.Random) -> Dialogue:
    scene = pictures.scene(rng)
    asked = pictures.asked(scene, rng, typed=True)
    return Dialogue((Turn((pictures.show(scene, rng), asked.question), asked.answer),), "picture")


def _clip(rng: random.Random) -> Dialogue:
    act = clips.act(rng)
    asked = clips.asked(act, rng)
    return Dialogue((Turn((clips.show(act, rng), asked.question), asked.answer),), "clip")


def _questions(library: Library, voices: list[str]) -> Callable[[random.Random, int], list[Dialogue]]:
    lines = [line for line in _lines(library, voices) if line.line.kind != "sentence"]
    return lambda rng, most: [
        Dialogue((Turn((heard(line.recording),), line.line.answer),), "spoken")
        for line in rng.sample(lines, min(most, len(lines)))
    ]


def _sentences(library: Library, voices: list[str]) -> Callable[[random.Random, int], list[Dialogue]]:
    lines = [line for line in _lines(library, voices) if line.line.kind == "sentence"]

    def draw(rng: random.Random, most: int) -> list[Dialogue]:
        drawn = rng.sample(lines, min(most, len(lines)))
        text = answers.written(wording.WRITE[0])
        return [_transcript((heard(line.recording), text), line.recording.text) for line in drawn]

    return draw


def _transcript(parts: tuple[Part, ...], text: str) -> Dialogue:
    return Dialogue((Turn(parts, text),), "transcript")


def _mixed(library: Library, rng: random.Random) -> Dialogue:
    """A picture of one thing, a judged sentence, and a question about both."""
    scene = pictures.scene(rng)
    while len(scene.things) != 1:
        scene = pictures.scene(rng)
    line = rng.choice(library.of(TEACHERS[0], "sentence"))
    thing, sentence = f"a {scene.things[0].name}", lessons.opened(line.recording.text)
    answer = answers.say(answers.MIXED[0], thing=thing, sentence=sentence)
    parts = (pictures.show(scene, rng), heard(line.recording), answers.written(wording.BOTH[0]))
    return Dialogue((Turn(parts, answer),), "mix")


def _seen(answer: str) -> str:
    """The part of an answer about the picture; the whole answer if it has no such part."""
    return answer.partition(_SAID)[0]


def _said(answer: str) -> str:
    """The part of an answer about the speech; the whole answer if it has no such part."""
    _, found, sentence = answer.partition(_SAID)
    return sentence if found else answer


def _lines(library: Library, voices: list[str]) -> list[RecordedLine]:
    return [line for voice in voices for kind in library.kinds(voice) for line in library.of(voice, kind)]
