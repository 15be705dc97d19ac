"""Measurements of speech, on sounds with known properties."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from antiphon_nano.judging.inspection import looks, pair, pitch, spectrogram
from antiphon_nano.teacher import shard
from antiphon_nano.teacher.shard import FRAME_SAMPLES, SAMPLE_RATE_HZ, Utterance


def buzz(hertz: float, frames: int, level: float = 0.1) -> np.ndarray:
    """A voice-like sound: twenty harmonics."""
    time = np.arange(frames * FRAME_SAMPLES) / SAMPLE_RATE_HZ
    harmonics = [np.sin(2 * np.pi * hertz * order * time) / order for order in range(1, 21)]
    return (level * np.sum(harmonics, 0)).astype(np.float32)


@pytest.mark.parametrize("hertz", [90.0, 135.0, 180.0, 260.0])
def test_the_pitch_of_a_voice_is_found(hertz: float) -> None:
    assert abs(pitch(buzz(hertz, 10)) - hertz) < 0.03 * hertz


def test_noise_has_no_pitch() -> None:
    assert np.isnan(pitch(np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)))


def test_silence_at_both_ends_and_level_are_measured(tmp_path: Path) -> None:
    sound = np.concatenate([np.zeros(FRAME_SAMPLES), buzz(150, 10), np.zeros(2 * FRAME_SAMPLES)])
    shard.write(tmp_path / "said", [Utterance("A.", "heart", 0, 13, [], [])], [sound.astype(np.float32)])
    found = looks(shard.read(tmp_path / "said"))
    assert (found.lead_ms, found.tail_ms) == (80, 160)
    assert abs(found.level_db - 10 * np.log10(np.square(buzz(150, 10)).mean())) < 0.2
    assert abs(found.pitch_hz - 150) < 5
    assert 0.1 < found.peak < 0.4


def test_a_silent_utterance_is_an_error(tmp_path: Path) -> None:
    silence = np.zeros(3 * FRAME_SAMPLES, np.float32)
    shard.write(tmp_path / "said", [Utterance("A.", "heart", 0, 3, [], [])], [silence])
    with pytest.raises(ValueError, match="silent"):
        looks(shard.read(tmp_path / "said"))


def test_a_high_tone_is_darkest_near_the_top_of_its_spectrogram() -> None:
    tone = 0.3 * np.sin(2 * np.pi * 9000 * np.arange(12_000) / SAMPLE_RATE_HZ).astype(np.float32)
    darkest = spectrogram(tone).mean(1).argmin()
    assert abs(darkest - 256 * (1 - 9000 / 12_000)) < 4


def test_a_pair_has_both_spectrograms() -> None:
    picture = np.asarray(pair(buzz(150, 5), buzz(150, 8)))
    assert picture.shape[0] == 2 * 256 + 6
    assert picture[:256].min() == 0
    assert picture[-256:].min() == 0
