"""Pieces hold all speech, end in pauses, keep their limit, and silence has none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from antiphon_server.transcription.pauses import (
    Cutting,
    LevelDetector,
    Piece,
    VoiceDetector,
    cut_at_pauses,
    whole,
)
from antiphon_server.voice_activity.scorer import SpeechScorer
from tests.server.test_voice_activity import question

RATE = 16_000


def voice(seconds: float, level: float = 0.2) -> NDArray[np.float32]:
    t = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * 220 * t)).astype(np.float32)


def spoken(seconds: float) -> NDArray[np.float32]:
    """The beginning of the sample question, 1.5 s long: a detector of speech takes no tone for speech."""
    return (question().reshape(-1)[RATE : RATE + round(seconds * RATE)] / 32_768).astype(np.float32)


def silence(seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * RATE), np.float32)


def noise(samples: NDArray[np.float32], level: float) -> NDArray[np.float32]:
    return samples + np.random.default_rng(0).normal(0, level, len(samples)).astype(np.float32)


def cut(samples: NDArray[np.float32], rule: Cutting | None = None) -> list[Piece]:
    return cut_at_pauses(samples, LevelDetector().activity(samples), rule or Cutting())


@pytest.mark.parametrize("background", [0.0, 0.001, 0.01])
def test_sentences_are_cut_at_their_pauses(background: float) -> None:
    spoken = [1.2, 2.0, 0.8]
    parts = [silence(1.0)]
    for seconds in spoken:
        parts += [voice(seconds), silence(0.9)]
    pieces = cut(noise(np.concatenate(parts), background))
    assert len(pieces) == 3
    at = 1.0
    for piece, seconds in zip(pieces, spoken, strict=True):
        start, end = piece.seconds
        assert at - 0.35 <= start <= at
        assert at + seconds <= end <= at + seconds + 0.35
        at += seconds + 0.9
        assert piece.voiced > 0.9


def test_a_short_pause_does_not_cut() -> None:
    assert len(cut(np.concatenate((voice(1), silence(0.3), voice(1))))) == 1
    assert len(cut(np.concatenate((voice(1), silence(0.3), voice(1))), Cutting(pause_ms=200))) == 2


def test_speech_without_a_pause_keeps_the_limit_and_is_cut_where_it_is_quietest() -> None:
    samples = voice(70)
    samples[RATE * 24 : RATE * 24 + 800] *= 0.2
    pieces = cut(samples)
    assert all(end - start <= 30.5 for start, end in (piece.seconds for piece in pieces))
    assert pieces[0].seconds[1] == pytest.approx(24.03, abs=0.1)
    assert pieces[0].start == 0
    assert pieces[-1].end == len(samples)
    for before, after in itertools.pairwise(pieces):
        assert before.end == after.start


@pytest.mark.parametrize("samples", [silence(3), noise(silence(3), 0.0005), silence(0.001), silence(0)])
def test_silence_has_no_piece(samples: NDArray[np.float32]) -> None:
    active = LevelDetector().activity(samples)
    assert whole(samples, active) == []
    assert cut(samples) == []


def test_a_click_is_no_speech() -> None:
    samples = silence(3)
    samples[RATE : RATE + 160] = 0.9
    assert cut(samples) == []
    assert whole(samples, LevelDetector().activity(samples)) == []


def test_a_recording_that_is_loud_all_the_time_is_speech() -> None:
    samples = noise(silence(4), 0.1)
    (piece,) = cut(samples)
    assert (piece.start, piece.end) == (0, len(samples))


def test_a_recording_of_short_sounds_has_a_bounded_number_of_pieces() -> None:
    click = np.concatenate([voice(0.08), silence(0.12)])
    samples = np.tile(click, 300)
    pieces = cut(samples, Cutting(pause_ms=100, padding_ms=0))
    assert 1 <= len(pieces) <= 16 + 60 / 2
    assert sum(end - start for start, end in (piece.seconds for piece in pieces)) > 50
    assert len(cut(samples, Cutting(longest_s=0.5, pause_ms=100))) >= 60 / 0.5


@pytest.fixture(scope="module")
def detector() -> VoiceDetector:
    return VoiceDetector(SpeechScorer())


def test_speech_is_told_from_loud_noise_between_it(detector: VoiceDetector) -> None:
    """By its level the noise would be speech too, and the recording one piece."""
    gap = noise(silence(3), 0.05)
    samples = np.concatenate((spoken(1.5), gap, spoken(1.5)))
    pieces = cut_at_pauses(samples, detector.activity(samples), Cutting())
    assert len(pieces) == 2
    in_noise = slice(2 * RATE // 320, 4 * RATE // 320)
    assert not detector.activity(samples)[in_noise].any()
    assert LevelDetector().activity(samples)[in_noise].all()


def test_the_threshold_says_what_counts_as_speech() -> None:
    samples = np.concatenate((spoken(1.5), silence(1), spoken(1.5)))
    shares = [VoiceDetector(SpeechScorer(), one).activity(samples).mean() for one in (0.2, 0.5, 0.99)]
    assert shares[0] > shares[1] > shares[2] > 0


@pytest.mark.parametrize(
    "samples", [voice(2), noise(silence(2), 0.1), silence(2), silence(0.001), silence(0)]
)
def test_a_recording_without_speech_is_judged_by_its_level(
    detector: VoiceDetector, samples: NDArray[np.float32]
) -> None:
    assert (detector.activity(samples) == LevelDetector().activity(samples)).all()
