"""A stretched stream has the right length, its pitch, no clicks, and does not depend on how it is cut."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon_server.speech.time_stretch import TimeStretcher
from tests.echo_engine import sine_pcm
from tests.server.media.test_encode import loudest_hz

SPEEDS = (0.25, 0.5, 0.8, 1.25, 2.0, 3.1, 4.0)
FRAME_BYTES = 2 * 1_920


def stretched(pcm: bytes, speed: float, size: int = FRAME_BYTES) -> bytes:
    stretcher = TimeStretcher(speed)
    pieces = [stretcher.stretch(pcm[at : at + size]) for at in range(0, len(pcm), size)]
    return b"".join(pieces) + stretcher.finish()


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize("samples", [0, 1, 500, 1_365, 48_000])
def test_the_length_is_divided_by_the_speed(speed: float, samples: int) -> None:
    out = stretched(sine_pcm(440, 0, samples), speed)
    assert len(out) == 2 * round(samples / speed)


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize("hz", [120, 440, 1_000])
def test_the_pitch_is_kept_and_nothing_clicks(speed: float, hz: int) -> None:
    pcm = sine_pcm(hz, 0, 48_000)
    heard = np.frombuffer(stretched(pcm, speed), "<i2").astype(np.float64)
    assert loudest_hz(heard) == pytest.approx(hz, abs=5)
    body = heard[1_000 : -1_500 if speed < 4 else -1_000]
    steepest = np.abs(np.diff(np.frombuffer(pcm, "<i2").astype(np.float64))).max()
    assert np.abs(np.diff(body)).max() < 1.15 * steepest
    level = np.sqrt(np.mean(np.square(body)))
    assert level == pytest.approx(12_000 / np.sqrt(2), rel=0.05)


def test_the_pieces_of_the_input_do_not_matter() -> None:
    pcm = np.random.default_rng(0).integers(-9_000, 9_000, 20_000).astype("<i2").tobytes()
    whole = stretched(pcm, 1.5, len(pcm))
    assert stretched(pcm, 1.5) == whole
    assert stretched(pcm, 1.5, 2 * 77) == whole


def test_the_beginning_comes_with_the_second_frame_at_the_latest() -> None:
    stretcher = TimeStretcher(2.0)
    pcm = sine_pcm(440, 0, 2 * 1_920 - 555)
    first = stretcher.stretch(pcm[: 2 * 1_365])
    assert first + stretcher.stretch(pcm[2 * 1_365 :])
    assert first[:200] == pcm[:200]


def test_silence_stays_silent() -> None:
    assert not any(stretched(bytes(40_000), 0.7))
