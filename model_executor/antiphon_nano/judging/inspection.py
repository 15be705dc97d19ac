"""Measurements of speech, `python -m antiphon_nano.judging.inspection REPORT TEACHER OURS PICTURE`.

Reads two shards of the same texts. Writes pitch, level and the silence at both ends to the report, and a
picture: the spectrograms of one utterance, the teacher's above ours.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from antiphon_nano.judging.report import record
from antiphon_nano.teacher import shard
from antiphon_nano.teacher.shard import SAMPLE_RATE_HZ

_HOP = 240
_WINDOW = 1024
_QUIET_DB = -45.0
"""Level of 10 ms, relative to full scale, below which they count as silence."""
_LOWEST_HZ, _HIGHEST_HZ = 70.0, 400.0
_VOICED = 0.6
_GAP = 6


@dataclass(frozen=True, slots=True)
class SpeechMeasures:
    """Medians over utterances, except `peak`, the maximum.

    `pitch_hz`: of voiced frames; `level_db`: root mean square of what is not silence; `lead_ms` and
    `tail_ms`: silence before and after the speech.
    """

    pitch_hz: float
    level_db: float
    peak: float
    lead_ms: float
    tail_ms: float


def looks(speech: shard.Shard, most: int = 100) -> SpeechMeasures:
    """Measures the first `most` utterances. Raises ValueError if one is silent throughout."""
    seen = [_measures_of(speech.sound(utterance)) for utterance in speech.utterances[:most]]
    columns = np.array([tuple(asdict(one).values()) for one in seen])
    middle = np.nanmedian(columns, 0)
    middle[2] = columns[:, 2].max()
    return SpeechMeasures(*(round(float(value), 3) for value in middle))


def _measures_of(sound: NDArray[np.float32]) -> SpeechMeasures:
    stretches = sound[: len(sound) // _HOP * _HOP].reshape(-1, _HOP)
    levels = 10 * np.log10(np.square(stretches).mean(1) + 1e-12)
    loud = np.flatnonzero(levels > _QUIET_DB)
    if not len(loud):
        raise ValueError("an utterance is silent throughout")
    level = 10 * np.log10(np.square(stretches[loud]).mean())
    tail = (len(levels) - 1 - loud[-1]) * 10
    return SpeechMeasures(
        pitch(sound), float(level), float(np.abs(sound).max()), float(loud[0] * 10), float(tail)
    )


def pitch(sound: NDArray[np.float32]) -> float:
    """Median frequency of voiced windows in Hz, by autocorrelation; NaN if no window is voiced."""
    windows = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[:: 2 * _HOP]
    windows = windows[np.square(windows).mean(1) > 1e-4] * np.hanning(_WINDOW)
    spectra = np.abs(np.fft.rfft(windows, 2 * _WINDOW)) ** 2
    likeness = np.fft.irfft(spectra)[:, :_WINDOW]
    # The autocorrelation of a windowed signal falls with the lag as that of the window does.
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(_WINDOW), 2 * _WINDOW)) ** 2)[:_WINDOW]
    likeness = likeness / np.maximum(likeness[:, :1], 1e-9) / (window / window[0])
    first, last = int(SAMPLE_RATE_HZ / _HIGHEST_HZ), int(SAMPLE_RATE_HZ / _LOWEST_HZ)
    voiced = [row[first:last] for row in likeness if row[first:last].max() > _VOICED]
    periods = [first + _first_peak(row) for row in voiced]
    return float(np.median(SAMPLE_RATE_HZ / np.array(periods))) if periods else float("nan")


def _first_peak(likeness: NDArray[np.float64]) -> int:
    """The first peak about as high as the highest: two periods correlate as well as one."""
    start = int(np.argmax(likeness > 0.9 * likeness.max()))
    below = np.flatnonzero(likeness[start:] < 0.9 * likeness.max())
    end = start + int(below[0]) if len(below) else len(likeness)
    return start + int(likeness[start:end].argmax())


def spectrogram(sound: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey [256, frames]: 0 to 12 kHz from bottom to top, darker is louder, over a range of 80 dB."""
    windows = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::_HOP] * np.hanning(_WINDOW)
    magnitude = np.abs(np.fft.rfft(windows))[:, : _WINDOW // 2].reshape(len(windows), -1, 2).mean(2)
    decibels = 20 * np.log10(np.maximum(magnitude, 1e-6) / max(magnitude.max(), 1e-6))
    return (-np.clip(decibels, -80, 0) / 80 * 255).astype(np.uint8).T[::-1]


def pair(above: NDArray[np.float32], below: NDArray[np.float32]) -> Image.Image:
    """Two spectrograms, one above the other."""
    top, bottom = spectrogram(above), spectrogram(below)
    width = max(top.shape[1], bottom.shape[1])
    whole = np.full((top.shape[0] * 2 + _GAP, width), 255, np.uint8)
    whole[: len(top), : top.shape[1]] = top
    whole[len(top) + _GAP :, : bottom.shape[1]] = bottom
    return Image.fromarray(whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("report", "teacher", "ours", "picture"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--utterance", type=int, default=0)
    arguments = parser.parse_args()
    teacher, ours = shard.read(arguments.teacher), shard.read(arguments.ours)
    for path, speech in ((arguments.teacher, teacher), (arguments.ours, ours)):
        record(arguments.report, f"{path.name} looks", asdict(looks(speech)))
    sounds = [speech.sound(speech.utterances[arguments.utterance]) for speech in (teacher, ours)]
    pair(*sounds).save(arguments.picture)


if __name__ == "__main__":
    main()
