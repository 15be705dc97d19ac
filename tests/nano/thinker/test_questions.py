"""Answers are true and in the domain's words; held-out questions are never trained."""

from __future__ import annotations

import itertools
import random
import re

import numpy as np
import pytest

from antiphon_nano.domain import answers, corpus, words
from antiphon_nano.thinker.asking import copying, manners, numbers, typed_dialogues
from antiphon_nano.thinker.asking.numbers import Sum
from antiphon_nano.thinker.hearing import script, tones
from antiphon_nano.thinker.seeing import clips, drawing, pictures, things
from antiphon_nano.thinker.seeing.pictures import Scene
from antiphon_nano.thinker.seeing.things import Thing

DRAWS = 300
KNOWN = {word.lower() for word in words.WORDS}


NUMBER = "(?:" + "|".join(sorted((words.number(value) for value in range(101)), key=len, reverse=True)) + ")"
SLOTS = dict.fromkeys(("a", "b", "result", "count", "number"), NUMBER) | {
    "series": f"{NUMBER}(?:, {NUMBER})+",
    "operation": "plus|minus|times",
    "sentence": ".+",
}


def shape(template: str) -> re.Pattern[str]:
    """A pattern of the template's sentences."""
    parts = re.split(r"\{(\w+)\}", template)
    named = [
        re.escape(part) if place % 2 == 0 else f"(?:{SLOTS.get(part, '[a-z ]+')})"
        for place, part in enumerate(parts)
    ]
    return re.compile("".join(named).replace("a\\ ", "an?\\ "), re.IGNORECASE)


SHAPES = [
    shape(template)
    for _, templates in corpus.FAMILIES
    for template in templates
    if template not in answers.READ_ALOUD
]


def in_domain(answer: str) -> bool:
    return all(unit.lower() in KNOWN or unit in words.PUNCTUATION for unit in corpus.units(answer))


def scene(*named: tuple[str, str, float, float]) -> Scene:
    return Scene(tuple(Thing(colour, shape, x, y, 0.12) for colour, shape, x, y in named))


def test_a_tenth_of_sums_and_differences_is_never_asked_aloud_in_training() -> None:
    held = [sum_ for sum_ in numbers.every_sum() if sum_.held_out]
    added = [sum_ for sum_ in numbers.every_sum() if sum_.operation != "times"]
    rng = random.Random(0)
    drawn = {numbers.ask_sum(rng).answer for _ in range(3000)}

    assert 0.07 < len(held) / len(added) < 0.13
    assert not drawn & {sum_.answer for sum_ in held}


def test_exams_word_sums_as_training_never_does() -> None:
    rng = random.Random(0)
    asked = [numbers.typed_sum(rng) for _ in range(3000)]
    trained = {typed_dialogues.typed(question, rng).lower().rstrip(" .?!=") for question in asked}
    judged = [numbers.judged_sum(rng, "plus", "minus") for _ in range(300)]

    assert not trained & {question.question.lower().rstrip(" .?!=") for question in judged}
    assert {question.answer for question in judged} & {question.answer for question in asked}


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (Sum(7, "plus", 8), "Seven plus eight is fifteen."),
        (Sum(20, "minus", 3), "Twenty minus three is seventeen."),
        (Sum(9, "times", 9), "Nine times nine is eighty one."),
    ],
)
def test_sums_are_answered_in_words(asked: Sum, answer: str) -> None:
    assert asked.answer == answer


def test_every_answer_is_a_sentence_that_the_talker_learns() -> None:
    rng = random.Random(1)
    for _ in range(DRAWS):
        shown, act, asked = pictures.scene(rng), clips.act(rng), typed_dialogues.asked(rng)
        assert in_domain(asked.answer), asked
        said = [turn.answer for turn in typed_dialogues.remembering(rng).turns[::2]] + [
            pictures.asked(shown, rng, typed=True).answer,
            clips.asked(act, rng).answer,
            tones.tone(rng, 0.5).description,
        ]
        said += [asked.answer] if asked.kind != "copy" else []
        for answer in said:
            assert any(shape.fullmatch(answer) for shape in SHAPES), answer


def test_sentences_of_the_evaluation_are_never_copied_in_training() -> None:
    rng = random.Random(2)
    held = set(corpus.held_out(2000))

    assert not held & {copying.sentence(rng) for _ in range(2000)}


def test_some_copied_texts_repeat_themselves() -> None:
    rng = random.Random(10)
    texts = [copying.sentence(rng).lower().rstrip(".").split() for _ in range(400)]
    pairs = [list(itertools.pairwise(text)) for text in texts]

    assert sum(len(set(found)) < len(found) for found in pairs) > 20


def test_copied_texts_are_in_the_question() -> None:
    rng = random.Random(3)
    for _ in range(DRAWS):
        asked = copying.ask_copy(rng)
        assert asked.answer.removesuffix(".") in asked.question


def test_questions_outside_the_domain_are_refused() -> None:
    asked = manners.ask_outside(random.Random(4), typed=True)

    assert asked.answer.startswith("I am sorry, I am a tiny demonstration model. I can")


@pytest.mark.parametrize(
    ("shown", "sentence"),
    [
        (scene(), "The picture is empty."),
        (scene(("orange", "star", 0.5, 0.5)), "I see an orange star."),
        (scene(("red", "dot", 0.2, 0.2), ("red", "dot", 0.8, 0.2)), "There are two red dots."),
        (scene(("red", "dot", 0.2, 0.2), ("blue", "ring", 0.8, 0.2)), "I see a red dot and a blue ring."),
        (
            scene(("red", "dot", 0.2, 0.2), ("blue", "ring", 0.8, 0.2), ("red", "dot", 0.8, 0.8)),
            "I see two red dots and a blue ring.",
        ),
    ],
)
def test_descriptions_are_true_of_the_scene(shown: Scene, sentence: str) -> None:
    assert pictures.describe(shown) == sentence


def test_mixed_scenes_have_several_of_one_kind() -> None:
    rng = random.Random(9)
    for _ in range(DRAWS):
        shown = pictures.mixed(rng)
        counts = [count for _, count in shown.kinds]
        assert max(counts) > 1
        assert sum(counts) == len(shown.things) == len({thing.ninth for thing in shown.things})


def test_things_are_named_in_reading_order() -> None:
    """By rows of cells: a thing that is higher by less than a cell does not come first."""
    right, left, low = (
        Thing(*kind, 0.1)
        for kind in (("red", "dot", 0.9, 0.15), ("blue", "ring", 0.1, 0.3), ("gray", "star", 0.5, 0.9))
    )

    assert things.read_order((low, left, right), (6, 6)) == [right, left, low]
    assert things.read_order((low, left, right), (3, 3)) == [left, right, low]


def test_every_word_comes_first_in_some_text_to_repeat() -> None:
    rng = random.Random(8)
    answered = [turn.answer for _ in range(6000) for turn in typed_dialogues.repeating(rng).turns]
    opening = {answer.split()[0].rstrip(".,").lower() for answer in answered}

    assert all(answer[0].isupper() for answer in answered)
    assert opening == KNOWN


def test_colours_places_and_counts_are_those_of_the_scene() -> None:
    shown, rng = scene(("red", "star", 0.2, 0.8), ("blue", "ring", 0.8, 0.2)), random.Random(5)
    stars, rings = (
        ("The star is red.", "in the bottom left corner"),
        ("The ring is blue.", "in the top right corner"),
    )
    for _ in range(60):
        assert pictures.ask_colour(shown, rng).answer in (stars[0], rings[0])
        assert pictures.ask_where(shown, rng).answer in (
            f"The red star is {stars[1]}.",
            f"The blue ring is {rings[1]}.",
        )
        many = pictures.ask_how_many(shown, rng).answer
        assert many in ("There is one star.", "There is one ring.", "I count two shapes in the picture.") or (
            many.startswith("There is no ") and "star" not in many and "ring" not in many
        )


def test_labels_match_the_drawn_things() -> None:
    shown = (Thing("red", "square", 0.25, 0.25, 0.2),)
    image = np.asarray(drawing.draw(shown, {"red": (255, 0, 0)}, (255, 255, 255), (192, 192)))

    labels = drawing.labels(shown, (6, 6)).reshape(6, 6, -1)

    red = (image.reshape(6, 32, 6, 32, 3) == (255, 0, 0)).all(-1).mean((1, 3))
    assert np.array_equal(labels[..., 0] > 0, red > 0.06)
    assert labels[..., 2].sum() == 1
    assert labels[1, 1, 2] == 1


def test_an_actor_moves_as_its_act_says_inside_the_picture() -> None:
    rng = random.Random(6)
    for _ in range(DRAWS):
        act = clips.act(rng)
        first, last = act.at(0), act.at(act.frames - 1)
        across, down = round(last.x - first.x, 6), round(last.y - first.y, 6)
        way = {"left": across < -0.3, "right": across > 0.3, "up": down < -0.3, "down": down > 0.3}
        grown = last.radius / first.radius
        way |= {"growing": grown > 1.5, "shrinking": grown < 0.67, "still": first == last}
        assert way[act.change]
        assert all(-0.02 < edge < 1.02 for edge in (last.x - last.radius, last.x + last.radius))


def test_judged_lines_ask_for_held_out_sums_and_sentences() -> None:
    lines = script.judged(random.Random(7), 40)
    held = {sum_.answer for sum_ in numbers.every_sum() if sum_.held_out}

    assert all(line.answer in held for line in lines if line.kind.startswith("sum"))
    assert {line.text for line in lines if line.kind == "sentence"} <= set(corpus.held_out(400))
