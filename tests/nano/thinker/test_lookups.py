"""Lookups of a shape in a picture: how many, in which colour, where."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
import pytest
import torch
from transformers import PreTrainedConfig, Qwen2Tokenizer

from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.thinker.dialogue import Dialogue, Part, Picture, Turn, Writer
from antiphon_nano.thinker.heads.lookups import Found, Lookups
from antiphon_nano.thinker.heads.naming import Naming
from antiphon_nano.thinker.lessons import lessons
from antiphon_nano.thinker.lessons.media_sources import ImaginedMedia
from antiphon_nano.thinker.network import network
from antiphon_nano.thinker.seeing.pictures import Scene
from antiphon_nano.thinker.seeing.things import Thing
from antiphon_nano.thinker.stages import imagining_training

SHOWN = Scene(
    (
        Thing("red", "star", 0.15, 0.15, 0.1),
        Thing("blue", "star", 0.5, 0.15, 0.1),
        Thing("red", "ring", 0.85, 0.85, 0.1),
    )
)
RED, BLUE = 1, 3


@cache
def parts() -> tuple[Qwen2Tokenizer, PreTrainedConfig, Lookups]:
    tokenizer = nano_tokenizer()
    config = network.nano_config(tokenizer)
    return tokenizer, config, Lookups(tokenizer, config)


def shown() -> Picture:
    return ImaginedMedia().picture(SHOWN, random.Random(0))


def found(*asked: Part, answer: str = "There is one ring.") -> list[Found]:
    tokenizer, config, lookups = parts()
    dialogue = Dialogue((Turn(asked, answer),), "picture")
    return lookups.found(network.Batch.of([Writer(tokenizer, config).sample(dialogue)]))


@pytest.mark.parametrize(
    ("question", "count", "colour", "ninths"),
    [
        ("Where is the ring?", 1, RED, {8}),
        ("How many stars are there?", 2, 0, {0, 1}),
        ("Is there a blue star?", 1, BLUE, {1}),
        ("Is there a red ring?", 1, RED, {8}),
        ("Is there a blue ring?", 0, -1, set()),
        ("Is there a dot?", 0, -1, set()),
        ("Count the shapes.", 3, 0, {0, 1, 8}),
    ],
)
def test_a_lookup_finds_the_things_of_its_shape(
    question: str, count: int, colour: int, ninths: set[int]
) -> None:
    asked, opening = found(shown(), question)
    assert (asked.count, asked.colour, set(np.flatnonzero(asked.ninths))) == (count, colour, ninths)
    assert (opening.count, opening.shape) == (len(SHOWN.things), 0)


def test_names_before_the_picture_or_in_an_answer_are_no_lookup() -> None:
    (opening,) = found("Is there a star?", shown(), answer="Yes, there is a red star.")
    assert opening.count == len(SHOWN.things)


def test_without_a_picture_there_is_no_lookup() -> None:
    assert not found("How many stars are there?")


def test_lookups_read_the_states_after_the_first_attention_layer() -> None:
    """The whole model and its first layers alone give the same losses for a search."""
    torch.manual_seed(0)
    tokenizer, config, lookups = parts()
    thinker, writer, naming = (
        network.nano_thinker(config),
        Writer(tokenizer, config),
        Naming(tokenizer, config),
    )
    short = lookups.watch(thinker.model)
    search = lessons.searched(ImaginedMedia(), random.Random(3))
    batch = network.Batch.of([writer.sample(search)])
    rows = imagining_training.imagined(thinker, naming, batch)

    network.states(thinker.model, rows, batch.positions)
    whole, _ = lookups(batch)
    network.states(short, rows, batch.positions)
    part, _ = lookups(batch)

    torch.testing.assert_close(part, whole)
    assert float(whole.detach()) > 0
    with pytest.raises(RuntimeError, match="hooked"):
        lookups(batch)


def test_every_shape_is_searched_once() -> None:
    asked = found(*lessons.searched(ImaginedMedia(), random.Random(1)).turns[0].question, answer="")
    assert len(asked) == 14
