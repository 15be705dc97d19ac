"""Sounds without speech: tones, beeps, glides, noise, silence, and their descriptions.

Samples are at 16 kHz. Descriptions use the words of `domain.answers`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.audio_geometry import SAMPLE_RATE_HZ
from antiphon_nano.domain import answers, words

_HERTZ = {"high": (900.0, 1800.0), "low": (110.0, 300.0)}


@dataclass(frozen=True, slots=True, eq=False)
class Tone:
    """`samples`: float32 [n] at 16 kHz. `words`: the description of each part, as labels. `pitch`: of a
    single steady tone.
    """

    samples: NDArray[np.float32]
    description: str
    words: tuple[str, ...]
    pitch: str | None = None


def tone(rng: random.Random, seconds: float) -> Tone:
    """A sound of any kind."""
    kind = rng.choice(("tone", "tone", "tone", "beeps", "beeps", "two", "glide", "noise", "silence"))
    level = rng.uniform(0.1, 0.7)
    if kind == "tone":
        pitch = rng.choice(answers.PITCHES)
        samples = _steady(_hertz(rng, pitch), seconds, level)
        return Tone(samples, answers.say(answers.SOUND[0], pitch=pitch), (pitch, "tone"), pitch)
    if kind == "two":
        one, other = rng.sample(answers.PITCHES, 2)
        halves = [_steady(_hertz(rng, pitch), seconds / 2, level) for pitch in (one, other)]
        description = answers.say(answers.SOUND[2], pitch=one, other_pitch=other)
        return Tone(np.concatenate(halves), description, (one, "tone", other, "tone"))
    if kind == "beeps":
        count = rng.randint(2, 5)
        description = answers.say(answers.SOUND[1], count=words.number(count))
        return Tone(_beeps(rng, count, seconds, level), description, count * ("beep",))
    if kind == "glide":
        glide = rng.choice(answers.GLIDES)
        samples = _glide(rng, glide, seconds, level)
        return Tone(samples, answers.say(answers.SOUND[5], glide=glide), ("tone", glide))
    noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(int(seconds * SAMPLE_RATE_HZ))
    if kind == "noise":
        return Tone((noise * level * 0.3).astype(np.float32), answers.written(answers.SOUND[3]), ("noise",))
    silence = (noise * rng.choice((0.0, 1e-4))).astype(np.float32)
    return Tone(silence, answers.written(answers.SOUND[4]), ("silence",))


def _hertz(rng: random.Random, pitch: str) -> float:
    return rng.uniform(*_HERTZ[pitch])


def _steady(hertz: float, seconds: float, level: float) -> NDArray[np.float32]:
    return _wave(np.full(int(seconds * SAMPLE_RATE_HZ), hertz), level)


def _glide(rng: random.Random, glide: str, seconds: float, level: float) -> NDArray[np.float32]:
    low, high = rng.uniform(150, 400), rng.uniform(900, 1800)
    start, end = (low, high) if glide == "rises" else (high, low)
    return _wave(np.linspace(start, end, int(seconds * SAMPLE_RATE_HZ)), level)


def _beeps(rng: random.Random, count: int, seconds: float, level: float) -> NDArray[np.float32]:
    """Evenly spaced; each at most a quarter of a second."""
    whole = np.zeros(int(seconds * SAMPLE_RATE_HZ), np.float32)
    hertz, step = rng.uniform(500, 1500), len(whole) // count
    length = min(int(0.25 * SAMPLE_RATE_HZ), step // 2)
    for start in range(0, step * count, step):
        whole[start : start + length] = _wave(np.full(length, hertz), level)
    return whole


def _wave(hertz: NDArray[np.float64], level: float) -> NDArray[np.float32]:
    """Fades in and out, so that the ends do not click."""
    phase = np.cumsum(hertz) * (2 * np.pi / SAMPLE_RATE_HZ)
    ramp = np.minimum(1, np.minimum(np.arange(len(hertz)), np.arange(len(hertz))[::-1]) / 160)
    wave: NDArray[np.float32] = (level * ramp * np.sin(phase)).astype(np.float32)
    return wave
