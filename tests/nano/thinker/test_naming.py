"""Ideal outputs of the towers are word embeddings, and the losses tell them from others."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedConfig, Qwen2Tokenizer

from antiphon_nano.domain import words
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.thinker.dialogue import Dialogue, Sound, Turn, Writer
from antiphon_nano.thinker.heads.naming import Naming
from antiphon_nano.thinker.network import network, word_rows
from antiphon_nano.thinker.seeing import clips, pictures
from antiphon_nano.thinker.stages.imagining_training import imagined

SAID = Sound(torch.zeros(128, 300), ("the", "red", "red", "dog", "sleeps"))


@cache
def tokenizer() -> Qwen2Tokenizer:
    return nano_tokenizer()


@cache
def config() -> PreTrainedConfig:
    return network.nano_config(tokenizer())


@cache
def naming() -> Naming:
    return Naming(tokenizer(), config())


@cache
def table() -> Tensor:
    thinker = network.nano_thinker(config())
    torch.manual_seed(1)
    word_rows.begin(thinker, tokenizer())
    rows: Tensor = thinker.model.embed_tokens.weight.detach()
    return rows


def read(rows: Tensor) -> list[str]:
    """The token with the nearest embedding to each of `rows`."""
    like = functional.normalize(rows, dim=1) @ functional.normalize(table(), dim=1).T
    return [tokenizer().decode([token]) for token in like.argmax(1).tolist()]


def test_forms_of_a_word_have_similar_embeddings_and_predict_themselves() -> None:
    thinker = network.nano_thinker(config())
    word_rows.begin(thinker, tokenizer())
    rows = functional.normalize(thinker.model.embed_tokens.weight.detach(), dim=1)
    inside, later, opening, other = (tokenizer().encode(w)[0] for w in (" bread", " Bread", "Bread", " dog"))
    assert min(rows[inside] @ rows[later], rows[inside] @ rows[opening]) > 0.7
    assert abs(float(rows[inside] @ rows[other])) < 0.4
    assert torch.equal(thinker.lm_head.weight, thinker.model.embed_tokens.weight)


def test_words_are_in_order_and_a_repeated_one_comes_twice() -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        tokens = read(naming().ideal_audio([SAID], [17], table()))
        assert len(tokens) == 17
        heard = [now for before, now in zip(["", *tokens], tokens, strict=False) if now != before]
        assert [token for token in heard if token != "<|audio_pad|>"] == [f" {word}" for word in SAID.words]


def test_words_beyond_the_tokens_are_dropped() -> None:
    said = Sound(SAID.mel, ("dog", "cat", "bird"))
    assert read(naming().ideal_audio([said], [2], table())) == [" dog", " cat"]


def test_silence_is_pads_only() -> None:
    assert set(read(naming().ideal_audio([Sound(SAID.mel)], [6], table()))) == {"<|audio_pad|>"}


def test_a_thing_is_named_at_its_centre_only() -> None:
    rng = random.Random(2)
    scene = pictures.scene(rng)
    while len(scene.things) != 2:
        scene = pictures.scene(rng)
    picture = pictures.show(scene, rng)
    assert picture.labels is not None
    rows = naming().ideal_vision([picture], table())
    centres = torch.from_numpy(picture.labels[:, 2] == 1)
    assert set(read(rows[~centres])) == {"<|image_pad|>"}
    for row, label in zip(rows[centres], picture.labels[centres.numpy()], strict=True):
        likest = (table() @ row).topk(6).indices.tolist()
        found = {tokenizer().decode([token]).strip().lower() for token in likest}
        assert {words.COLOURS[label[0] - 1], words.SHAPES[label[1] - 1]} <= found


def test_a_moving_thing_is_named_with_its_movement() -> None:
    rng = random.Random(4)
    act = clips.act(rng)
    while act.change != "left":
        act = clips.act(rng)
    clip = clips.show(act, rng)
    assert clip.labels is not None
    moving = torch.from_numpy((clip.labels[:, 2] == 1) & (clip.labels[:, -1] == clips.CHANGES.index("left")))
    like = naming().ideal_vision([clip], table()) @ table()[tokenizer().encode(" left")[0]]
    assert bool(moving.any())
    assert float(like[moving].min()) > float(like[~moving].max())


def test_ideal_towers_have_a_low_loss_and_others_a_high_one() -> None:
    torch.manual_seed(3)
    rng = random.Random(5)
    media = [pictures.show(pictures.scene(rng), rng) for _ in range(8)]
    seen, said = naming().ideal_vision(media, table()), naming().ideal_audio([SAID], [17], table())
    (perfect, right), (blind, wrong) = (
        naming().vision_loss(rows, media, table()) for rows in (seen, seen[torch.randperm(len(seen))])
    )
    assert float(right) == 1
    assert float(wrong) < 0.5
    assert perfect < 0.2 * blind
    hearing, deaf = (naming().audio_loss(rows, [SAID], [17], table()) for rows in (said, said.flip(0)))
    assert hearing < 0.2 * deaf


def test_imagined_embeddings_replace_media_tokens_only() -> None:
    rng = random.Random(6)
    thinker, writer = network.nano_thinker(config()), Writer(tokenizer(), config())
    parts = (SAID, pictures.show(pictures.scene(rng), rng), "What do you see?")
    batch = network.Batch.of([writer.sample(Dialogue((Turn(parts, "I see a red dog."),), "test"))])
    rows, plain = imagined(thinker, naming(), batch), thinker.model.embed_tokens(batch.token_ids)
    media = np.isin(batch.token_ids.numpy(), [config().audio_token_id, config().image_token_id])
    same = (rows == plain).all(-1)
    assert same[torch.from_numpy(~media)].all()
    assert not same[torch.from_numpy(media)].any()
