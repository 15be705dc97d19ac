"""The server encodes requests as training does, and the exported Thinker answers as in training."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import torch
from numpy.typing import NDArray

from antiphon_executor.models.thinker.log_mel import log_mel
from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration
from antiphon_executor.reference.thinker import Patches
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.thinker.asking.typed_dialogues import talk
from antiphon_nano.thinker.dialogue import Clip, Dialogue, Picture, Sample, Sound, Turn, Writer
from antiphon_nano.thinker.hearing.augmentation import MEL_BINS, Augmentation, samples
from antiphon_nano.thinker.network import greedy, network
from antiphon_nano.thinker.seeing import patches
from antiphon_nano.training import weights
from tests.nano.served.server_path import Message, Served, filmed, heard, served, shown
from tests.server.media.conftest import started_loader  # noqa: F401

Model = Qwen3_5OmniMoeForConditionalGeneration
FPS = 2.0


@pytest_asyncio.fixture(scope="module")
async def server(exported: Path, started_loader) -> Served:  # type: ignore[no-untyped-def]  # noqa: F811
    return served(exported, started_loader)


@pytest.fixture(scope="module")
def writer() -> Writer:
    tokenizer = nano_tokenizer()
    return Writer(tokenizer, network.nano_config(tokenizer))


@pytest.fixture(scope="module")
def model(exported: Path) -> Model:
    return Model.from_pretrained(exported, dtype=torch.float32).eval()


def recording(seconds: float = 1.84, seed: int = 0) -> NDArray[np.float32]:
    """Whole frames of 80 ms: a voice-like buzz, some noise, and silence around it."""
    time = np.arange(round(seconds * 24_000)) / 24_000
    buzz = sum(np.sin(2 * np.pi * 120 * n * time) / n for n in range(1, 40)) * np.sin(np.pi * time / seconds)
    noise = np.random.default_rng(seed).standard_normal(len(time)) * 0.01
    return (0.2 * buzz + noise).astype(np.float32)


def drawn(count: int, rows: int = 6, columns: int = 6) -> NDArray[np.uint8]:
    size = (count, rows * patches.CELL, columns * patches.CELL, 3)
    return np.random.default_rng(count).integers(0, 256, size, dtype=np.uint8)


def trained_sound(sound: NDArray[np.float32]) -> Sound:
    return Sound(log_mel(samples(sound, Augmentation()), MEL_BINS))


def asked(*parts: str | Message, system: str = "") -> list[Message]:
    content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    instructed = [{"role": "system", "content": system}] if system else []
    return [*instructed, {"role": "user", "content": content}]


def messages_of(dialogue: Dialogue) -> list[Message]:
    """The messages of a typed dialogue without its last answer."""
    said: list[Message] = [{"role": "system", "content": dialogue.system}] if dialogue.system else []
    for turn in dialogue.turns:
        (question,) = turn.question
        said += [{"role": "user", "content": question}, {"role": "assistant", "content": turn.answer}]
    return said[:-1]


async def test_typed_dialogues_have_the_token_ids_of_training(server: Served, writer: Writer) -> None:
    dialogues = [talk(random.Random(f"served {number}")) for number in range(150)]
    assert {len(dialogue.turns) for dialogue in dialogues} == {1, 2, 3, 4}
    assert any(dialogue.system for dialogue in dialogues)
    for dialogue in dialogues:
        prompt = await server.prompt(messages_of(dialogue))
        trained = writer.prompt(dialogue)
        assert prompt.token_ids.tolist() == trained.token_ids.tolist(), dialogue
        assert np.array_equal(prompt.positions, trained.positions)


def cases() -> Sequence[tuple[str, list[Message], Dialogue]]:
    """Requests with media, and the same dialogues as in training."""
    sound, film, still = recording(), drawn(6, 4, 4), drawn(1)[0]
    picture = Picture(patches.cut(still[None]))
    clip, sounding = (
        Clip(patches.cut(film), len(film), FPS, of) for of in (None, trained_sound(recording(2.96)))
    )
    spoken = trained_sound(sound)
    see, hear = "What do you see?", "What did I say?"
    later = [
        *asked(shown(still), see),
        {"role": "assistant", "content": "I see a red dot."},
        *asked(heard(sound)),
        {"role": "assistant", "content": "You said: hello."},
        *asked("And what color is it?"),
    ]
    turns = (
        Turn((picture, see), "I see a red dot."),
        Turn((spoken,), "You said: hello."),
        Turn(("And what color is it?",), ""),
    )
    return (
        ("heard", asked(heard(sound)), one(spoken)),
        ("long", asked(heard(recording(64.0, 3)), hear), one(trained_sound(recording(64.0, 3)), hear)),
        ("seen", asked(shown(still), see, system="Be brief."), one(picture, see, system="Be brief.")),
        ("asked first", asked(see, shown(still)), one(see, picture)),
        ("filmed", asked(filmed(film, FPS), see), one(clip, see)),
        (
            "filmed aloud",
            asked(filmed(film, FPS, heard(recording(2.96))), see),
            one(sounding, see),
        ),
        (
            "mixed",
            asked(shown(still), heard(sound), "What do you see, and what did I say?"),
            one(picture, spoken, "What do you see, and what did I say?"),
        ),
        ("turns", later, Dialogue(turns, "turns")),
    )


def one(*question: str | Sound | Picture | Clip, system: str = "") -> Dialogue:
    return Dialogue((Turn(question, ""),), "case", system)


@pytest.mark.parametrize(
    ("messages", "dialogue"), [case[1:] for case in cases()], ids=[c[0] for c in cases()]
)
async def test_requests_with_media_have_the_encoding_of_training(
    server: Served, writer: Writer, messages: list[Message], dialogue: Dialogue
) -> None:
    prompt = await server.prompt(messages)
    trained = writer.prompt(dialogue)

    assert prompt.token_ids.tolist() == trained.token_ids.tolist()
    assert np.array_equal(prompt.positions, trained.positions)
    _assert_seen_alike(prompt.pictures + prompt.videos, trained)
    _assert_heard_alike(prompt.sounds, trained)


def _assert_seen_alike(seen: Sequence[Patches], trained: Sample) -> None:
    media = [medium for medium in trained.media if not isinstance(medium, Sound)]
    for ours, meant in zip(seen, media, strict=True):
        assert ours.grid == meant.patches.grid
        torch.testing.assert_close(ours.pixels, meant.patches.pixels, rtol=0, atol=1e-5)


def _assert_heard_alike(sounds: Sequence[torch.Tensor], trained: Sample) -> None:
    """The server's resampling filter differs, which changes the top bins only, near half the rate."""
    for ours, theirs in zip(sounds, mels(trained), strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs)[:118].abs().mean() < 0.01
        assert (ours - theirs)[:118].abs().max() < 0.3


def mels(trained: Sample) -> tuple[torch.Tensor, ...]:
    return tuple(sound.mel for medium in trained.media if (sound := network.heard(medium)))


@pytest.mark.parametrize("kind", ["seen", "filmed", "heard", "mixed", "turns"])
async def test_the_exported_thinker_answers_as_in_training(
    server: Served, writer: Writer, model: Model, stages: Path, kind: str
) -> None:
    """Without sound, because random weights amplify the difference in resampling."""
    (messages, dialogue), *_ = [case[1:] for case in cases() if case[0] == kind]
    trained = network.nano_thinker(network.nano_config(nano_tokenizer())).eval()
    trained.load_state_dict(weights(stages / "thinker.safetensors", "thinker"))
    sample = writer.prompt(dialogue)
    prompt = replace(await server.prompt(messages), sounds=mels(sample))

    (meant,) = greedy.answers(trained, [sample], writer.end, most=8)

    assert model.thinker.generate(prompt, 8, writer.end) == meant
    assert meant
