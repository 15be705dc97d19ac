"""The plain WAV reader accepts plain files only and does not trust the lengths that they state."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.media.decode.plain_wav import read_plain_wav
from antiphon_server.media.wav_header import wav_header
from tests.server.media.media_samples import wav

PLAIN = wav_header(3, 16_000) + struct.pack("<3h", 0, 16_384, -32_768)


def test_samples_are_the_integers_over_32768() -> None:
    samples = read_plain_wav(PLAIN)
    assert samples is not None
    assert samples.dtype == np.float32
    assert samples.tolist() == [0.0, 0.5, -1.0]


def test_our_header_is_the_standard_librarys() -> None:
    assert wav_header(100, 16_000) == wav(np.zeros((1, 100)), 16_000)[:44]


@pytest.mark.parametrize("claimed", [7, 1 << 20, 0xFFFFFFFF])
def test_a_length_beyond_the_file_is_cut(claimed: int) -> None:
    samples = read_plain_wav(PLAIN[:40] + struct.pack("<I", claimed) + PLAIN[44:])
    assert samples is not None
    assert len(samples) == 3


def test_chunks_before_the_audio_are_passed_over() -> None:
    listed = PLAIN[:36] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + PLAIN[36:]
    samples = read_plain_wav(listed)
    assert samples is not None
    assert len(samples) == 3


@pytest.mark.parametrize(
    ("channels", "rate_hz", "bits"), [(2, 16_000, 16), (1, 16_000, 24), (1, 16_000, 8), (1, 8_000, 16)]
)
def test_other_layouts_are_left_to_a_decoder(channels: int, rate_hz: int, bits: int) -> None:
    assert read_plain_wav(wav(np.zeros((channels, 100)), rate_hz, bits)) is None


@given(st.binary(max_size=120), st.integers(0, len(PLAIN)))
def test_any_bytes_are_read_or_declined(noise: bytes, keep: int) -> None:
    samples = read_plain_wav(PLAIN[:keep] + noise)
    assert samples is None or len(samples) <= len(noise) + 3
