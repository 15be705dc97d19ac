"""A batch of dialogues gives what the reference gives for each alone."""

from __future__ import annotations

import random
from functools import cache

import pytest
import torch

from antiphon_executor.reference.thinker import Thinker, ThinkerPrompt
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.thinker.asking import typed_dialogues
from antiphon_nano.thinker.dialogue import Clip, Dialogue, Picture, Sample, Sound, Turn, Writer
from antiphon_nano.thinker.network import greedy, network
from antiphon_nano.thinker.seeing import clips, pictures


@cache
def thinker() -> Thinker:
    torch.manual_seed(0)
    return network.nano_thinker(network.nano_config(nano_tokenizer())).eval()


@cache
def writer() -> Writer:
    tokenizer = nano_tokenizer()
    return Writer(tokenizer, network.nano_config(tokenizer))


def mel(frames: int) -> torch.Tensor:
    return torch.randn(128, frames, generator=torch.Generator().manual_seed(frames))


@cache
def samples() -> tuple[Sample, ...]:
    """A long sound (of two blocks of attention), a picture and a sound, a sounding clip, plain text."""
    rng = random.Random(3)
    scene, act = pictures.scene(rng), clips.act(rng)
    questions = (
        (Sound(mel(930)), "What did I say?"),
        (pictures.show(scene, rng), Sound(mel(140))),
        (clips.show(act, rng, Sound(mel(205))), "What do you see?"),
    )
    dialogues = [Dialogue((Turn(question, "I hear noise."),), "test") for question in questions]
    return tuple(writer().prompt(dialogue) for dialogue in (*dialogues, typed_dialogues.talk(rng)))


def alone(sample: Sample) -> ThinkerPrompt:
    return ThinkerPrompt(
        torch.from_numpy(sample.token_ids),
        torch.from_numpy(sample.positions),
        tuple(sound.mel for medium in sample.media if (sound := network.heard(medium))),
        tuple(medium.patches for medium in sample.media if isinstance(medium, Picture)),
        tuple(medium.patches for medium in sample.media if isinstance(medium, Clip)),
    )


@torch.no_grad()
def test_a_padded_batch_equals_the_reference_on_each_prompt() -> None:
    batch = network.Batch.of(samples())

    rows = network.embed(thinker(), batch).rows
    logits = thinker().lm_head(network.states(thinker().model, rows, batch.positions))

    for place, sample in enumerate(samples()):
        expected = thinker()(alone(sample)).logits
        torch.testing.assert_close(logits[place, : len(expected)], expected, rtol=1e-4, atol=1e-5)


def test_answers_with_a_cache_equal_the_references() -> None:
    answers = greedy.answers(thinker(), samples(), writer().end, most=4)

    assert answers == [thinker().generate(alone(sample), 4, writer().end) for sample in samples()]


def test_the_loss_is_of_answers_alone() -> None:
    sample = writer().sample(typed_dialogues.talk(random.Random(1)))
    batch = network.Batch.of([sample])
    last = network.states(thinker().model, network.embed(thinker(), batch).rows, batch.positions)

    loss, _ = network.answer_loss(thinker(), batch, last)

    logits = thinker()(alone(sample)).logits[:-1]
    learned = torch.from_numpy(sample.answers[1:])
    wanted = torch.from_numpy(sample.token_ids[1:])
    expected = torch.nn.functional.cross_entropy(logits[learned], wanted[learned])
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


def test_media_that_do_not_match_their_tokens_are_an_error() -> None:
    batch = network.Batch.of(samples()[:1])
    without = network.Batch(
        batch.token_ids, batch.positions, batch.answers, (Sound(mel(20)),), batch.pictures, batch.videos
    )

    with pytest.raises(ValueError, match="positions"):
        network.embed(thinker(), without)
