"""Imagined media have the length, the size and the contents of real ones."""

from __future__ import annotations

import random

import numpy as np
import pytest

from antiphon_nano.domain import corpus
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.thinker.dialogue import Clip, Dialogue, Picture, Sound, Writer
from antiphon_nano.thinker.hearing import tones
from antiphon_nano.thinker.lessons import lessons
from antiphon_nano.thinker.lessons.media_sources import ImaginedMedia, toned
from antiphon_nano.thinker.network import network
from antiphon_nano.thinker.seeing import clips, pictures
from antiphon_nano.thinker.stages import imagining_training

IMAGINED = ImaginedMedia()


def draw(maker: lessons.Maker, seed: int) -> Dialogue:
    return maker(IMAGINED, random.Random(seed))


@pytest.mark.parametrize("maker", [maker for _, maker in lessons.KINDS])
def test_every_lesson_can_be_imagined_and_encoded(maker: lessons.Maker) -> None:
    tokenizer = nano_tokenizer()
    config = network.nano_config(tokenizer)
    naming = imagining_training.Naming(tokenizer, config)
    thinker, writer = network.nano_thinker(config), Writer(tokenizer, config)
    batch = network.Batch.of([writer.sample(draw(maker, seed)) for seed in range(4)])
    rows = imagining_training.imagined(thinker, naming, batch)
    assert rows.shape[:2] == batch.token_ids.shape
    assert rows.isfinite().all()


def test_an_imagined_picture_has_the_size_and_labels_of_the_drawn_one() -> None:
    scene = pictures.scene(random.Random(1))
    imagined = IMAGINED.picture(scene, random.Random(2))
    drawn = pictures.show(scene, random.Random(2))
    assert imagined.patches.grid == drawn.patches.grid
    assert np.array_equal(imagined.labels, drawn.labels)


def test_an_imagined_clip_has_the_length_of_the_drawn_one() -> None:
    act = clips.act(random.Random(3))
    imagined, drawn = IMAGINED.clip(act, None, random.Random(4)), clips.show(act, random.Random(4))
    assert imagined.patches.grid[0] == drawn.patches.grid[0]
    assert imagined.labels is not None
    assert len(imagined.labels) == np.prod(imagined.patches.grid) // 4


def test_an_imagined_tone_has_the_length_and_words_of_the_recorded_one() -> None:
    for seed in range(40):
        tone = tones.tone(random.Random(seed), 1.7)
        imagined, heard = IMAGINED.tone(tone), toned(tone)
        assert imagined.mel.shape == heard.mel.shape
        assert imagined.words == heard.words


def test_beeps_are_as_many_words_as_their_description_says() -> None:
    found = [tones.tone(random.Random(seed), 2.0) for seed in range(200)]
    beeps = [tone for tone in found if "beep" in tone.words]
    counts = {2: "two", 3: "three", 4: "four", 5: "five"}
    assert {len(tone.words) for tone in beeps} == set(counts)
    assert all(counts[len(tone.words)] in tone.description for tone in beeps)


def test_sentences_do_not_repeat_and_none_is_held_out() -> None:
    texts = [IMAGINED.sentence(random.Random(seed)).line.text for seed in range(400)]
    long = [text for text in texts if len(text.split()) > 4]
    assert len(set(long)) > 0.98 * len(long)
    assert not set(texts) & set(corpus.held_out(400))


def test_only_recorded_questions_are_spoken() -> None:
    rng = random.Random(5)
    assert IMAGINED.seen(rng, "What do you see?") is not None
    assert IMAGINED.seen(rng, "Describe this image.") is None


def test_questions_about_a_picture_differ_and_a_description_comes_last() -> None:
    for seed in range(100):
        rng = random.Random(seed)
        asked = pictures.drilled(pictures.scene(rng), rng, 6)
        assert len({question.answer for question in asked}) == len(asked)
        kinds = [question.kind for question in asked]
        assert kinds == sorted(kinds, key=lambda kind: kind == "see")


def test_media_are_of_every_kind() -> None:
    drawn = [draw(imagining_training.lesson, seed) for seed in range(200)]
    parts = [part for dialogue in drawn for turn in dialogue.turns for part in turn.question]
    assert {type(part) for part in parts} == {str, Sound, Picture, Clip}
