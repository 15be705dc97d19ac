"""Audio augmentation: recordings to mel frames with changed speed, level, noise, echo and padding.

Labels follow the changes. Without a random generator, `heard` returns the recording as it is, at 16 kHz.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.audio_geometry import SAMPLE_RATE_HZ, AudioGeometry
from antiphon_executor.models.thinker.log_mel import log_mel
from antiphon_nano.domain import corpus, words
from antiphon_nano.teacher import shard
from antiphon_nano.teacher.shard import Shard, Utterance
from antiphon_nano.thinker.dialogue import Sound
from antiphon_nano.thinker.hearing.resampling import resampled

MEL_BINS = 128
VOCABULARY = tuple(dict.fromkeys(word.lower() for word in words.WORDS))
_PLACE = {word: place for place, word in enumerate(VOCABULARY)}
_SPEEDS = ((17, 20), (9, 10), (19, 20), (1, 1), (1, 1), (21, 20), (11, 10), (23, 20))
_GEOMETRY = AudioGeometry()
_FRAME_MS = 1000 * shard.FRAME_SAMPLES / shard.SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Recording:
    """One utterance of a shard."""

    shard: Shard
    utterance: Utterance

    @property
    def text(self) -> str:
        return self.utterance.text


@dataclass(frozen=True, slots=True)
class Augmentation:
    """An augmentation. `speed`: a fraction; `lead_ms`, `tail_ms`: silence before and after; `gain`: a factor;
    `noise`: dB below the speech, or None; `echo_s`: reverberation, or 0.
    """

    speed: tuple[int, int] = (1, 1)
    lead_ms: int = 0
    tail_ms: int = 0
    gain: float = 1.0
    noise_db: float | None = None
    echo_s: float = 0.0
    seed: int = 0

    @classmethod
    def drawn(cls, rng: random.Random) -> Augmentation:
        return cls(
            speed=rng.choice(_SPEEDS),
            lead_ms=rng.choice((0, 0, rng.randint(0, 600))),
            tail_ms=rng.choice((0, 0, rng.randint(0, 600))),
            gain=10 ** (rng.uniform(-18, 3) / 20),
            noise_db=rng.uniform(12, 45) if rng.random() < 0.6 else None,
            echo_s=rng.uniform(0.05, 0.25) if rng.random() < 0.15 else 0.0,
            seed=rng.getrandbits(32),
        )


def heard(recording: Recording, way: Augmentation | None = None) -> Sound:
    """Mel frames, the words, and for aligned recordings the labels of each token."""
    way = way or Augmentation()
    sampled = samples(recording.shard.sound(recording.utterance), way)
    sound = log_mel(sampled, MEL_BINS)
    labels = _labels(recording.utterance, way, _GEOMETRY.tokens(sound.shape[1]))
    return Sound(sound, known(recording.text), labels, sampled)


def known(text: str) -> tuple[str, ...]:
    """The lower-case words of `text` that are in `VOCABULARY`."""
    return tuple(unit.lower() for unit in corpus.units(text) if unit.lower() in _PLACE)


def samples(sound: NDArray[np.float32], way: Augmentation) -> NDArray[np.float32]:
    """24 kHz to 16 kHz, augmented."""
    over, under = way.speed
    heard_ = resampled(sound, 2 * under, 3 * over)
    rng = np.random.default_rng(way.seed)
    if way.echo_s:
        heard_ = _echoed(heard_, way.echo_s, rng)
    silence = [np.zeros(SAMPLE_RATE_HZ * ms // 1000, np.float32) for ms in (way.lead_ms, way.tail_ms)]
    level = float(np.sqrt(np.mean(heard_**2)))
    heard_ = np.concatenate((silence[0], heard_, silence[1]))
    if way.noise_db is not None:
        heard_ = heard_ + _noise(len(heard_), rng) * np.float32(level * 10 ** (-way.noise_db / 20))
    return np.clip(heard_ * np.float32(way.gain), -1, 1).astype(np.float32)


def word_ids(said: tuple[str, ...]) -> list[int]:
    """Indices in `VOCABULARY`."""
    return [_PLACE[word] for word in said]


def _labels(utterance: Utterance, way: Augmentation, tokens: int) -> NDArray[np.int64] | None:
    """[tokens, 3]: the phonemes at one quarter and three quarters of a token, and the word in its middle; -1
    outside the speech and for unknown words.
    """
    if not utterance.phonemes:
        return None
    edges = np.array([_GEOMETRY.start_ms(token) for token in range(tokens + 1)])
    starts, lengths = edges[:-1], np.diff(edges)
    found = np.full((tokens, 3), -1)
    speed = way.speed[0] / way.speed[1]
    for column, share in ((0, 0.25), (1, 0.75), (2, 0.5)):
        frames = np.floor((starts + share * lengths - way.lead_ms) * speed / _FRAME_MS).astype(np.int64)
        inside = (frames >= 0) & (frames < utterance.frames)
        if column < 2:
            found[inside, column] = np.array(utterance.phonemes)[frames[inside]]
        else:
            spoken = [_PLACE.get(unit.lower(), -1) for unit in corpus.units(utterance.text)]
            units = np.searchsorted(np.array(utterance.starts), frames[inside], side="right") - 1
            found[inside, 2] = np.where(units >= 0, np.array(spoken)[units], -1)
    return found


def _noise(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise of level 1, white or with fewer high frequencies."""
    noise = rng.standard_normal(count).astype(np.float32)
    if rng.random() < 0.5:
        noise = np.convolve(noise, np.ones(8, np.float32), "same")
    return noise / np.float32(np.sqrt(np.mean(noise**2)) + 1e-9)


def _echoed(sound: NDArray[np.float32], length_s: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Adds the response of a small room: noise that decays after the direct sound."""
    count = int(length_s * SAMPLE_RATE_HZ)
    fading = np.exp(-6 * np.arange(count) / count).astype(np.float32)
    room = rng.standard_normal(count).astype(np.float32) * fading * 0.06
    room[0] = 1.0
    size = 1 << (len(sound) + count).bit_length()
    spectrum = np.fft.rfft(sound, size) * np.fft.rfft(room, size)
    return np.fft.irfft(spectrum, size)[: len(sound)].astype(np.float32)
