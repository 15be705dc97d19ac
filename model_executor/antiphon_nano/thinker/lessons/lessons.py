"""All lessons of the Thinker: dialogues with media of every kind that the product answers.

Each function makes one kind; `KINDS` holds their weights.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from antiphon_nano.domain import answers, words
from antiphon_nano.thinker.asking import talks
from antiphon_nano.thinker.asking import voice_wording as wording
from antiphon_nano.thinker.asking.numbers import Asked
from antiphon_nano.thinker.dialogue import Clip, Dialogue, Part, Picture, Turn
from antiphon_nano.thinker.hearing import script, tones
from antiphon_nano.thinker.lessons.sources import Source
from antiphon_nano.thinker.seeing import clips, pictures

Maker = Callable[[Source, random.Random], Dialogue]

_SCENES: pictures.Scenes = (
    (0.1, pictures.crowd),
    (0.12, lambda chance: pictures.alike(chance, 3)),
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


def ordered(medium: Part, asked: Part, chance: random.Random) -> tuple[Part, ...]:
    """A medium and a question about it, mostly in this order."""
    return (medium, asked) if chance.random() < 0.8 else (asked, medium)


def typed(asked: Asked, chance: random.Random) -> str:
    return talks.typed(asked, chance)


def typed_talk(source: Source, chance: random.Random) -> Dialogue:
    return talks.talk(chance)


def picture(source: Source, chance: random.Random) -> Dialogue:
    """Up to six questions about one picture, typed, or spoken if there is a recording. Pictures with many
    things are needed: among two or three, a guess is right too often.
    """
    scene = pictures.one_of(_SCENES, chance)
    if len(scene.things) == 1 and scene.things[0].radius < pictures.LARGE and chance.random() < _MORE:
        scene = pictures.scene(chance)
    asked = pictures.drilled(scene, chance, chance.choice((1, 3, 6)))
    shown, by_voice = source.picture(scene, chance), 1.0 if chance.random() < 0.3 else 0.0
    return _about(shown, asked, by_voice, source, chance)


def searched(source: Source, chance: random.Random) -> Dialogue:
    """A picture and the names of all shapes, some with a colour. For the lookups alone."""
    scene = pictures.one_of(_SEARCHED, chance)
    names = [pictures.searched(scene, shape, chance) for shape in words.SHAPES] + ["shapes"]
    chance.shuffle(names)
    return _one((source.picture(scene, chance), ", ".join(names)), "", "searched", chance)


def clip(source: Source, chance: random.Random) -> Dialogue:
    """One or two questions about a clip without sound."""
    act = clips.act(chance)
    asked = [clips.asked(act, chance) for _ in range(chance.choice((1, 2)))]
    return _about(source.clip(act, None, chance), asked, 0.25, source, chance)


def sounding_clip(source: Source, chance: random.Random) -> Dialogue:
    """A question about a clip with sound: the movement, the sound, or both."""
    act = clips.act(chance)
    if chance.random() < 0.4:
        said = source.sentence(chance)
        sound, pitch = said.sound, None
        description = answers.say(answers.SOUND[6], sentence=opened(said.line.text))
    else:
        tone = tones.tone(chance, act.frames / act.fps * chance.uniform(0.6, 1.0))
        sound, description, pitch = source.tone(tone), tone.description, tone.pitch
    shown = source.clip(act, sound, chance)
    kind = chance.random()
    if pitch and act.change in ("left", "right", "up", "down") and kind < 0.35:
        slots = {
            "colour": act.actor.colour,
            "shape": act.actor.shape,
            "direction": act.change,
            "pitch": pitch,
        }
        question = Asked(
            answers.written(chance.choice(wording.BOTH_CLIP)), answers.say(answers.MIXED[2], **slots), "both"
        )
    elif kind < 0.8:
        question = Asked(answers.written(chance.choice(wording.HEAR_IN_CLIP)), description, "heard")
    else:
        question = clips.asked(act, chance)
    return _one(ordered(shown, typed(question, chance), chance), question.answer, "sounding clip", chance)


def spoken_question(source: Source, chance: random.Random) -> Dialogue:
    """A spoken question, sometimes the second of two."""
    spoken = source.question(chance)
    turns = [Turn((spoken.sound,), spoken.line.answer)]
    if chance.random() < 0.15:
        first = talks.asked(chance)
        turns.insert(0, Turn((first.question,), first.answer))
    return Dialogue(tuple(turns), "spoken", talks.system(chance))


def transcribed(source: Source, chance: random.Random) -> Dialogue:
    """A spoken sentence with a typed request, or without one."""
    sentence = source.sentence(chance)
    sound, text = sentence.sound, sentence.line.text
    said, heard = (
        answers.say(template, sentence=opened(text)) for template in (answers.HEARD[0], answers.SOUND[6])
    )
    wanted = ((wording.WRITE, text), (wording.DID_I_SAY, said), (wording.HEAR, heard), ((), said))
    ((forms, answer),) = chance.choices(wanted, (50, 25, 12, 13))
    if not forms:
        return _one((sound,), answer, "transcript", chance)
    question = typed(Asked(answers.written(chance.choice(forms)), "", "transcript"), chance)
    return _one(ordered(sound, question, chance), answer, "transcript", chance)


def sounding(source: Source, chance: random.Random) -> Dialogue:
    """A sound without speech."""
    tone = tones.tone(chance, chance.uniform(0.8, 4))
    text = typed(Asked(answers.written(chance.choice(wording.HEAR)), "", "tone"), chance)
    sound = source.tone(tone)
    return _one(ordered(sound, text, chance), tone.description, "tone", chance)


def seen_and_said(source: Source, chance: random.Random) -> Dialogue:
    """A picture of one thing, and a spoken sentence."""
    scene = pictures.scene(chance)
    while len(scene.things) != 1:
        scene = pictures.scene(chance)
    said = source.sentence(chance)
    parts: list[Part] = [source.picture(scene, chance), said.sound]
    chance.shuffle(parts)
    thing = f"a {scene.things[0].name}"
    answer = answers.say(answers.MIXED[0], thing=thing, sentence=opened(said.line.text))
    text = typed(Asked(answers.written(chance.choice(wording.BOTH)), "", "mix"), chance)
    return _one((*parts, text), answer, "mix", chance)


def named(source: Source, chance: random.Random) -> Dialogue:
    """The user says a name and asks for it by voice later, perhaps with another question between."""
    told = source.line(chance, "named")
    name = next(name for name in words.NAMES if name in told.line.text)
    asked = source.line(chance, "name asked")
    turns = [Turn((told.sound,), told.line.answer)]
    if chance.random() < 0.3:
        between = source.question(chance)
        turns.append(Turn((between.sound,), between.line.answer))
    turns.append(Turn((asked.sound,), script.remembered(name)))
    return Dialogue(tuple(turns), "memory", talks.system(chance))


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


def lesson(source: Source, chance: random.Random) -> Dialogue:
    """A dialogue of any kind."""
    (maker,) = chance.choices([maker for _, maker in KINDS], [weight for weight, _ in KINDS])
    return maker(source, chance)


def _about(
    shown: Picture | Clip, asked: Sequence[Asked], by_voice: float, source: Source, chance: random.Random
) -> Dialogue:
    """Questions about one medium in sequence. Each is spoken with probability `by_voice`."""
    turns: list[Turn] = []
    for question in asked:
        spoken = source.seen(chance, question.question) if chance.random() < by_voice else None
        part: Part = spoken.sound if spoken else typed(question, chance)
        turns.append(Turn((part,) if turns else ordered(shown, part, chance), question.answer))
    return Dialogue(tuple(turns), asked[0].kind, talks.system(chance))


def _one(parts: tuple[Part, ...], answer: str, kind: str, chance: random.Random) -> Dialogue:
    return Dialogue((Turn(parts, answer),), kind, talks.system(chance))
