"""The tallies of a picture's cells count the things up to each cell."""

from __future__ import annotations

import random

import pytest
import torch

from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.thinker.dialogue import Dialogue, Picture, Turn, Writer
from antiphon_nano.thinker.heads.tallies import Tallies, tally_labels
from antiphon_nano.thinker.lessons.media_sources import ImaginedMedia
from antiphon_nano.thinker.network import network
from antiphon_nano.thinker.seeing.pictures import Scene
from antiphon_nano.thinker.seeing.things import Thing

UNKNOWN = -1


def shown(*kinds: str) -> Picture:
    """One thing at the left of each third of a row of six cells, and nothing below."""
    things = tuple(Thing(*kind.split(), (2 * place + 0.5) / 6, 0.1, 0.05) for place, kind in enumerate(kinds))
    return ImaginedMedia().picture(Scene(things, (2, 6)), random.Random(0))


@pytest.mark.parametrize(
    ("kinds", "alike", "ranks"),
    [
        (("red dot", "red dot", "red dot"), [1, 1], [1, 2, 3]),
        (("red dot", "red dot", "blue dot"), [1, 0], [1, 2, 3]),
        (("red dot", "red ring", "red dot"), [0, 0], [1, 1, 2]),
    ],
)
def test_things_are_counted_in_reading_order(
    kinds: tuple[str, ...], alike: list[int], ranks: list[int]
) -> None:
    found = tally_labels(shown(*kinds))

    assert found[:, 0].tolist() == [1, 1, 2, 2, 3, 3] + 6 * [3]
    assert found[:, 1].tolist() == [UNKNOWN, UNKNOWN, alike[0], alike[0]] + 8 * [alike[1]]
    assert found[[0, 2, 4], 2].tolist() == ranks
    assert (found[[1, 3, 5], 2] == UNKNOWN).all()


def test_states_that_contain_the_tallies_have_no_loss() -> None:
    """States that contain the labels, and heads that read them, have no loss."""
    tokenizer = nano_tokenizer()
    config = network.nano_config(tokenizer)
    tallies, picture = Tallies(config), shown("red dot", "red dot", "blue ring")
    asked = Dialogue((Turn((picture, "What do you see?"), "Yes."),), "see")
    batch = network.Batch.of([Writer(tokenizer, config).sample(asked)])
    states = torch.zeros(*batch.token_ids.shape, config.text_config.hidden_size)
    cells = (batch.token_ids[0] == config.image_token_id).nonzero()[:, 0]
    heads = (tallies.passed, tallies.alike, tallies.rank)
    for place, head in enumerate(heads):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
        for label in range(head.out_features):
            head.weight.data[label, 16 * place + label] = 50.0
    for cell, labels in zip(cells, tally_labels(picture), strict=True):
        for place, label in enumerate(labels):
            states[0, cell, 16 * place + label] = float(label != UNKNOWN)

    assert float(tallies(states, batch)) < 1e-3
    assert float(tallies(torch.zeros_like(states), batch)) > 1


def test_without_a_picture_the_loss_is_zero() -> None:
    tokenizer = nano_tokenizer()
    config = network.nano_config(tokenizer)
    typed = Dialogue((Turn(("What is one plus one?",), "Two."),), "sum")
    batch = network.Batch.of([Writer(tokenizer, config).sample(typed)])

    assert float(Tallies(config)(torch.zeros(1, 1), batch)) == 0
