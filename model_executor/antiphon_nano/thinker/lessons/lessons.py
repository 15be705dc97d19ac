"""All lessons of the Thinker: dialogues with media of every kind that the product answers.

Each function makes one kind; `KINDS` holds their weights.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from antiphon_nano.domain import answers, words
from antiphon_nano.thinker.asking import typed_dialogues
from antiphon_nano.thinker.asking import voice_wording as wording
from antiphon_nano.thinker.asking.numbers import QuestionAnswer
from antiphon_nano.thinker.dialogue import Clip, Dialogue, Part, Picture, Turn
from antiphon_nano.thinker.hearing import script, tones
from antiphon_nano.thinker.lessons.media_sources import Source
from antiphon_nano.thinker.seeing import clips, pictures

Maker = Callable[[Source, random.Random], Dialogue]

_SCENES: pictures.Scenes = (
    (0.1, pictures.crowd),
    (0.12, lambda rng: pictures.alike(rng, 3)),
    (0.1, pictures.alike),
    (0.12, pictures.mixed),
    (0.56, pictures.scene),
)
"""Kinds of scene in lessons. Exams use the last one alone."""
_SEARCHED: pictures.Scenes = (
    (0.2, pictures.crowd),
    (0.4, pictures.alike),
    (0.2, pictures.mixed),
    (0.2, pictures.scene),
)
_MORE = 0.6
"""Probability to replace a picture of a single small thing, from which little can be learned."""


def opened(text: str) -> str:
    """A written sentence as it continues after a colon: its first word in lower case, unless it is a name or
    "I".
    """
    first = text.split(maxsplit=1)[0].rstrip(".,?!:")
    return text if first == "I" or first in words.NAMES else text[0].lower() + text[1:]


def ordered(medium: Part, asked: Part, rng: random.Random) -> tuple[Part, ...]:
    """A medium and a question about it, mostly in this order."""
    return (medium, asked) if rng.random() < 0.8 else (asked, medium)


def typed(asked: QuestionAnswer, rng: random.Random) -> str:
    return typed_dialogues.typed(asked, rng)


def typed_talk(source: Source, rng: random.Random) -> Dialogue:
    return typed_dialogues.talk(rng)


def picture(source: Source, rng: random.Random) -> Dialogue:
    """Up to six questions about one picture, typed, or spoken if there is a recording. Pictures with many
    things are needed: among two or three, a guess is right too often.
    """
    scene = pictures.one_of(_SCENES, rng)
    if len(scene.things) == 1 and scene.things[0].radius < pictures.LARGE and rng.random() < _MORE:
        scene = pictures.scene(rng)
    asked = pictures.drilled(scene, rng, rng.choice((1, 3, 6)))
    shown, by_voice = source.picture(scene, rng), 1.0 if rng.random() < 0.3 else 0.0
    return _about(shown, asked, by_voice, source, rng)


def searched(source: Source, rng: random.Random) -> Dialogue:
    """A picture and the names of all shapes, some with a colour. For the lookups alone."""
    scene = pictures.one_of(_SEARCHED, rng)
    names = [pictures.searched(scene, shape, rng) for shape in words.SHAPES] + ["shapes"]
    rng.shuffle(names)
    return _one((source.picture(scene, rng), ", ".join(names)), "", "searched", rng)


def clip(source: Source, rng: random.Random) -> Dialogue:
    """One or two questions about a clip without sound."""
    act = clips.act(rng)
    asked = [clips.asked(act, rng) for _ in range(rng.choice((1, 2)))]
    return _about(source.clip(act, None, rng), asked, 0.25, source, rng)


def sounding_clip(source: Source, rng: random.Random) -> Dialogue:
    """A question about a clip with sound: the movement, the sound, or both."""
    act = clips.act(rng)
    if rng.random() < 0.4:
        said = source.sentence(rng)
        sound, pitch = said.sound, None
        description = answers.say(answers.SOUND[6], sentence=opened(said.line.text))
    else:
        tone = tones.tone(rng, act.frames / act.fps * rng.uniform(0.6, 1.0))
        sound, description, pitch = source.tone(tone), tone.description, tone.pitch
    shown = source.clip(act, sound, rng)
    kind = rng.random()
    if pitch and act.change in ("left", "right", "up", "down") and kind < 0.35:
        slots = {
            "colour": act.actor.colour,
            "shape": act.actor.shape,
            "direction": act.change,
            "pitch": pitch,
        }
        question = QuestionAnswer(
            answers.written(rng.choice(wording.BOTH_CLIP)), answers.say(answers.MIXED[2], **slots), "both"
        )
    elif kind < 0.8:
        question = QuestionAnswer(answers.written(rng.choice(wording.HEAR_IN_CLIP)), description, "heard")
    else:
        question = clips.asked(act, rng)
    return _one(ordered(shown, typed(question, rng), rng), question.answer, "sounding clip", rng)


def spoken_question(source: Source, rng: random.Random) -> Dialogue:
    """A spoken question, sometimes the second of two."""
    spoken = source.question(rng)
    turns = [Turn((spoken.sound,), spoken.line.answer)]
    if rng.random() < 0.15:
        first = typed_dialogues.asked(rng)
        turns.insert(0, Turn((first.question,), first.answer))
    return Dialogue(tuple(turns), "spoken", typed_dialogues.system(rng))


def transcribed(source: Source, rng: random.Random) -> Dialogue:
    """A spoken sentence with a typed request, or without one."""
    sentence = source.sentence(rng)
    sound, text = sentence.sound, sentence.line.text
    said, heard = (
        answers.say(template, sentence=opened(text)) for template in (answers.HEARD[0], answers.SOUND[6])
    )
    wanted = ((wording.WRITE, text), (wording.DID_I_SAY, said), (wording.HEAR, heard), ((), said))
    ((forms, answer),) = rng.choices(wanted, (50, 25, 12, 13))
    if not forms:
        return _one((sound,), answer, "transcript", rng)
    question = typed(QuestionAnswer(answers.written(rng.choice(forms)), "", "transcript"), rng)
    return _one(ordered(sound, question, rng), answer, "transcript", rng)


def sounding(source: Source, rng: random.Random) -> Dialogue:
    """A sound without speech."""
    tone = tones.tone(rng, rng.uniform(0.8, 4))
    text = typed(QuestionAnswer(answers.written(rng.choice(wording.HEAR)), "", "tone"), rng)
    sound = source.tone(tone)
    return _one(ordered(sound, text, rng), tone.description, "tone", rng)


def seen_and_said(source: Source, rng: random.Random) -> Dialogue:
    """A picture of one thing, and a spoken sentence."""
    scene = pictures.scene(rng)
    while len(scene.things) != 1:
        scene = pictures.scene(rng)
    said = source.sentence(rng)
    parts: list[Part] = [source.picture(scene, rng), said.sound]
    rng.shuffle(parts)
    thing = f"a {scene.things[0].name}"
    answer = answers.say(answers.MIXED[0], thing=thing, sentence=opened(said.line.text))
    text = typed(QuestionAnswer(answers.written(rng.choice(wording.BOTH)), "", "mix"), rng)
    return _one((*parts, text), answer, "mix", rng)


def named(source: Source, rng: random.Random) -> Dialogue:
    """The user says a name and asks for it by voice later, perhaps with another question between."""
    told = source.line(rng, "named")
    name = next(name for name in words.NAMES if name in told.line.text)
    asked = source.line(rng, "name asked")
    turns = [Turn((told.sound,), told.line.answer)]
    if rng.random() < 0.3:
        between = source.question(rng)
        turns.append(Turn((between.sound,), between.line.answer))
    turns.append(Turn((asked.sound,), script.remembered(name)))
    return Dialogue(tuple(turns), "memory", typed_dialogues.system(rng))


KINDS: tuple[tuple[float, Maker], ...] = (
    (24, typed_talk),
    (44, picture),
    (8, clip),
    (6, sounding_clip),
    (14, spoken_question),
    (36, transcribed),
    (6, sounding),
    (14, seen_and_said),
    (1, named),
)


def lesson(source: Source, rng: random.Random) -> Dialogue:
    """A dialogue of any kind."""
    (maker,) = rng.choices([maker for _, maker in KINDS], [weight for weight, _ in KINDS])
    return maker(source, rng)


def _about(
    shown: Picture | Clip,
    asked: Sequence[QuestionAnswer],
    by_voice: float,
    source: Source,
    rng: random.Random,
) -> Dialogue:
    """Questions about one medium in sequence. Each is spoken with probability `by_voice`."""
    turns: list[Turn] = []
    for question in asked:
        spoken = source.seen(rng, question.question) if rng.random() < by_voice else None
        part: Part = spoken.sound if spoken else typed(question, rng)
        turns.append(Turn((part,) if turns else ordered(shown, part, rng), question.answer))
    return Dialogue(tuple(turns), asked[0].kind, typed_dialogues.system(rng))


def _one(parts: tuple[Part, ...], answer: str, kind: str, rng: random.Random) -> Dialogue:
    return Dialogue((Turn(parts, answer),), kind, typed_dialogues.system(rng))
