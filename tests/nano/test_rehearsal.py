"""Rehearsal: takes are streams as they are served; what was understood better becomes likelier."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from antiphon_executor.reference.speech import speak
from antiphon_executor.reference.talker import Talker
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.speech import talker_rehearsal
from antiphon_nano.speech.lesson import Lesson
from antiphon_nano.speech.listener import Listener
from antiphon_nano.speech.rehearsal_loss import RehearsalLoss, Rehearsed
from antiphon_nano.speech.takes import allowed, takes
from antiphon_nano.speech.talker_start import fresh_talker
from antiphon_nano.speech.talker_trial import GREEDY, Cached
from antiphon_nano.thinker import network
from antiphon_nano.thinker.aids import EarAids
from antiphon_nano.thinker.hearing.listening import word_ids
from tests.nano.test_talker_lessons import lesson, prompt_rows
from tests.reference.mini import CODES, EOS, GROUPS, TTS_EOS, mini_config

TEXTS = ((21, 22, 23, 24, 25, 26, TTS_EOS), (22, 27, TTS_EOS), (23, 24, 25, TTS_EOS), (20,) * 9 + (TTS_EOS,))
FRAMES = 14
NEARLY_GREEDY = 1e-5


@pytest.fixture
def talker() -> Talker:
    torch.manual_seed(3)
    return fresh_talker(mini_config().talker_config, torch.randn(GROUPS, CODES, 8)).eval()


@torch.no_grad()
def test_takes_are_what_the_reference_speaks_each_alone(talker: Talker) -> None:
    """Given texts of other lengths, when they are drawn together and nearly greedily, then no stream is
    another than it would be by itself.
    """
    prompt = prompt_rows(talker, lesson())
    for text, take in zip(TEXTS, takes(talker, prompt, TEXTS, NEARLY_GREEDY, FRAMES), strict=True):
        alone = speak(talker, prompt, text[:-1], TTS_EOS, GREEDY, FRAMES, Cached(talker))
        assert take.text == text
        assert take.codes.tolist() == alone.codes.tolist()
        assert take.ended == alone.ended


def test_eos_may_be_drawn_behind_all_text_alone(talker: Talker) -> None:
    mask = allowed(talker, torch.tensor([True, False]))

    assert mask[:, EOS].tolist() == [True, False]
    assert mask[0, :CODES].all()
    assert int(mask[0].sum()) == int(mask[1].sum()) + 1


def test_what_was_understood_better_becomes_likelier(talker: Talker) -> None:
    """Given two takes of one text, when their losses are followed, then the better one gains on the other."""
    better, worse = (taken(seed) for seed in (1, 2))
    loss = RehearsalLoss(talker, fixed_copy(talker), temperature=0.7)
    optimizer = torch.optim.SGD(talker.parameters(), lr=0.02)
    ahead = []
    for _ in range(4):
        ahead.append(float(loss([Rehearsed(worse, 1.0, True)])["gain"].detach())
                     - float(loss([Rehearsed(better, 1.0, True)])["gain"].detach()))  # fmt: skip
        part = [Rehearsed(better, 1.0, True), Rehearsed(worse, -1.0, True)]
        optimizer.zero_grad()
        loss(part)["total"].backward()
        optimizer.step()

    assert ahead == sorted(ahead)
    assert ahead[-1] > ahead[0] + 0.1


def test_an_untaught_talker_is_not_held_back(talker: Talker) -> None:
    parts = RehearsalLoss(talker, fixed_copy(talker), temperature=0.7)([Rehearsed(taken(1), 0.0, True)])

    assert all(float(loss.detach()) == pytest.approx(0, abs=1e-4) for loss in parts.values())


def test_a_take_that_was_cut_off_says_nothing_of_its_end(talker: Talker) -> None:
    """Its EOS was never drawn: neither likelier nor less."""
    loss = RehearsalLoss(talker, fixed_copy(talker), temperature=0.7)
    whole, cut = (float(loss([Rehearsed(taken(1), 1.0, ended)])["gain"].detach()) for ended in (True, False))

    assert whole > cut > 0


def test_takes_are_compared_with_those_of_their_own_text() -> None:
    half = talker_rehearsal.TAKES // 2
    alike, apart = half * [2.0, 2.0], half * [0.0, 1.0]
    found = np.array(talker_rehearsal.advantages(torch.tensor(alike + apart)))

    assert np.abs(found[: len(alike)]).max() < 1e-6
    assert np.sign(found[len(alike) :]).tolist() == half * [1.0, -1.0]
    assert found.sum() == pytest.approx(0, abs=1e-5)


def test_the_listener_tells_what_was_said_from_what_was_not(tmp_path: Path) -> None:
    """Given ears that take everything for "red", then that loses less than "blue" does."""
    torch.manual_seed(0)
    config = network.nano_config(nano_tokenizer())
    thinker, aids = network.nano_thinker(config), EarAids(config.audio_config.d_model)
    (red,) = word_ids(("red",))
    with torch.no_grad():
        aids.words.bias[red + 1] += 5
    state = {f"thinker/{name}": value for name, value in thinker.state_dict().items()}
    state |= {f"ears/{name}": value for name, value in aids.state_dict().items()}
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "thinker.safetensors")
    sounds = [torch.randn(24_000) * 0.1] * 2

    said, unsaid = Listener(tmp_path / "thinker.safetensors").misses(sounds, ["Red.", "Blue."])

    assert 0 <= said < unsaid


def taken(seed: int) -> Lesson:
    """A take of codes drawn blindly."""
    codes = np.random.default_rng(seed).integers(0, CODES, (FRAMES, GROUPS))
    text = TEXTS[0]
    zeros = np.zeros(FRAMES, np.int64)
    return replace(lesson(), text=text, starts=(0,) * (len(text) - 1), codes=codes, phonemes=zeros)


def fixed_copy(talker: Talker) -> Talker:
    copy = Talker(talker.config)
    copy.load_state_dict(talker.state_dict())
    return copy.eval().requires_grad_(False)
