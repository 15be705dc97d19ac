"""Augmentation changes speed, position and noise of recordings, and their labels accordingly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from antiphon_nano.teacher.shard import FRAME_SAMPLES, Shard, Utterance
from antiphon_nano.thinker.dialogue import Sound
from antiphon_nano.thinker.heads.tower_heads import AudioHeads
from antiphon_nano.thinker.hearing.augmentation import VOCABULARY, Augmentation, Recording, heard, samples
from antiphon_nano.thinker.hearing.resampling import resampled


def recording(frames: int = 25) -> Recording:
    """Two seconds: "Red" in its first, "blue." in its second."""
    sound = np.random.default_rng(0).standard_normal(frames * FRAME_SAMPLES) * 3000
    half = frames // 2
    phonemes = [7] * half + [9] * (frames - half)
    utterance = Utterance("Red blue.", "heart", 0, frames, [0, half, frames - 1], phonemes)
    return Recording(Shard([utterance], sound.astype(np.int16)), utterance)


def test_resampling_keeps_a_tone_and_its_level() -> None:
    tone = np.sin(np.arange(24_000) * 2 * np.pi * 440 / 24_000).astype(np.float32)

    narrow = resampled(tone, 2, 3)

    expected = np.sin(np.arange(16_000) * 2 * np.pi * 440 / 16_000)
    assert len(narrow) == 16_000
    np.testing.assert_allclose(narrow[100:-100], expected[100:-100], atol=2e-3)


@pytest.mark.parametrize(("speed", "seconds"), [((1, 1), 2.0), ((17, 20), 2.35), ((23, 20), 1.74)])
def test_a_speed_changes_the_length(speed: tuple[int, int], seconds: float) -> None:
    sound = recording().shard.sound(recording().utterance)

    assert len(samples(sound, Augmentation(speed=speed))) / 16_000 == pytest.approx(seconds, abs=0.02)


def test_labels_follow_silence_and_speed() -> None:
    plain = heard(recording())
    later = heard(recording(), Augmentation(lead_ms=1000))
    slower = heard(recording(), Augmentation(speed=(17, 20)))

    red, blue = VOCABULARY.index("red"), VOCABULARY.index("blue")
    assert plain.labels is not None
    assert later.labels is not None
    assert slower.labels is not None
    assert plain.labels[0].tolist() == [7, 7, red]
    assert plain.labels[9, 2] == blue
    assert (later.labels[:7] == -1).all()
    assert np.array_equal(later.labels[7:12], plain.labels[:5])
    assert (slower.labels[:, 0] == 7).sum() >= (plain.labels[:, 0] == 7).sum()
    assert plain.words == ("red", "blue")


def test_the_same_augmentation_gives_the_same_sound() -> None:
    way = Augmentation(noise_db=20, echo_s=0.1, gain=0.5, seed=4)

    assert torch.equal(heard(recording(), way).mel, heard(recording(), way).mel)


def test_words_are_read_from_the_audio_tower_s_output() -> None:
    aids = AudioHeads(len(VOCABULARY) + 1)
    with torch.no_grad():
        aids.words.weight.copy_(torch.eye(len(VOCABULARY) + 1))
        aids.words.bias.zero_()
    red, blue = VOCABULARY.index("red") + 1, VOCABULARY.index("blue") + 1
    rows = torch.eye(len(VOCABULARY) + 1)[[0, red, red, 0, blue, blue, red, 0, red]]

    assert aids.read(rows, [6, 3]) == [["red", "blue"], ["red", "red"]]


def test_sounds_without_speech_have_no_word_loss() -> None:
    aids = AudioHeads(8)

    losses = aids(torch.randn(5, 8), [Sound(torch.zeros(128, 70))], [5])

    assert float(losses["words"]) == 0
    assert set(losses) == {"words"}
