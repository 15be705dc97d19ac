"""G.711, PCM and the resampler: exact where they can be, and the same in pieces as in one."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from antiphon_server.openai_api.realtime.session import ALaw, MuLaw, PcmInput, PcmOutput
from antiphon_server.realtime.audio.input_audio import InputAudio
from antiphon_server.realtime.audio.resampler import Resampler
from antiphon_server.realtime.audio.sample_formats import (
    InputDecoder,
    OutputEncoder,
    decode_g711,
    encode_g711,
)

LAWS = ("mu", "a")


def sine(hz: float, rate_hz: int, seconds: float = 1.0) -> np.ndarray:
    return (np.sin(2 * np.pi * hz * np.arange(int(rate_hz * seconds)) / rate_hz) * 10_000).astype(np.int16)


@pytest.mark.parametrize("law", LAWS)
def test_every_code_survives_decoding_and_encoding(law: str) -> None:
    codes = bytes(range(256))
    samples = decode_g711(codes, law)
    assert (decode_g711(encode_g711(samples, law), law) == samples).all()


@pytest.mark.parametrize(
    ("law", "known"),
    [
        ("mu", {0x00: -32_124, 0x80: 32_124, 0xFF: 0, 0xF0: 120}),
        ("a", {0xD5: 8, 0x55: -8, 0xAA: 32_256, 0x2A: -32_256}),
    ],
)
def test_the_tables_are_those_of_the_recommendation(law: str, known: dict[int, int]) -> None:
    assert {code: int(decode_g711(bytes([code]), law)[0]) for code in known} == known


@pytest.mark.parametrize("law", LAWS)
def test_encoding_chooses_the_nearest_code(law: str) -> None:
    samples = np.arange(-32_768, 32_768, 37).astype(np.int16)
    back = decode_g711(encode_g711(samples, law), law).astype(int)
    table = np.sort(decode_g711(bytes(range(256)), law).astype(int))
    nearest = np.abs(samples.astype(int)[:, None] - table[None]).min(1)
    assert (np.abs(back - samples) == nearest).all()


@pytest.mark.parametrize(("from_hz", "to_hz"), [(24_000, 16_000), (8_000, 16_000), (24_000, 8_000)])
def test_pieces_of_any_length_give_what_the_whole_gives(from_hz: int, to_hz: int) -> None:
    samples = np.random.default_rng(1).integers(-20_000, 20_000, 9_001).astype(np.int16)
    whole = Resampler(from_hz, to_hz).resample(samples)
    resampler = Resampler(from_hz, to_hz)
    cuts = [0, 1, 2, 700, 701, 5_003, len(samples)]
    pieces = [resampler.resample(samples[a:b]) for a, b in pairwise(cuts)]
    assert (np.concatenate(pieces) == whole).all()
    assert abs(len(whole) - len(samples) * to_hz / from_hz) <= 1


def test_a_minute_in_one_piece_needs_little_memory_and_gives_the_same() -> None:
    samples = np.random.default_rng(2).integers(-20_000, 20_000, 480_000).astype(np.int16)
    tracemalloc.start()
    try:
        whole = Resampler(8_000, 16_000).resample(samples)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 24 << 20
    resampler = Resampler(8_000, 16_000)
    pieces = [resampler.resample(samples[at : at + 1_000]) for at in range(0, len(samples), 1_000)]
    assert (np.concatenate(pieces) == whole).all()


def test_input_audio_is_found_by_its_samples_however_long_its_pieces_are() -> None:
    samples = np.arange(30_000, dtype=np.int16)
    audio = InputAudio()
    audio.append(samples[:25_000])
    audio.append(samples[25_000:25_003])
    audio.append(samples[25_003:])
    audio.drop_before(9_000)
    assert (audio.kept_from, audio.received) == (9_000, 30_000)
    assert (audio.take(10_000, 26_000) == samples[10_000:26_000]).all()
    assert (audio.take_all() == samples[26_000:]).all()
    assert audio.kept == 0


@pytest.mark.parametrize(("from_hz", "to_hz"), [(24_000, 16_000), (8_000, 16_000), (24_000, 8_000)])
def test_a_tone_keeps_its_level_and_one_above_the_limit_disappears(from_hz: int, to_hz: int) -> None:
    kept = Resampler(from_hz, to_hz).resample(sine(1_000, from_hz))[200:].astype(float)
    assert np.sqrt(np.mean(kept**2)) == pytest.approx(10_000 / np.sqrt(2), rel=0.01)
    if to_hz < from_hz:
        gone = Resampler(from_hz, to_hz).resample(sine(to_hz * 0.58, from_hz))[200:].astype(float)
        assert np.sqrt(np.mean(gone**2)) < 70


def test_half_a_sample_waits_for_its_other_half() -> None:
    decoder = InputDecoder(PcmInput(type="audio/pcm", rate=16_000))
    assert decoder.decode(b"\x01\x02\x03").tolist() == [0x0201]
    assert decoder.decode(b"\x04").tolist() == [0x0403]


@pytest.mark.parametrize(
    "asked", [PcmOutput(type="audio/pcm"), MuLaw(type="audio/pcmu"), ALaw(type="audio/pcma")]
)
def test_pieces_for_the_client_join_as_base64(asked: PcmOutput | MuLaw | ALaw) -> None:
    encoder = OutputEncoder(asked)
    pieces = [encoder.encode(bytes(length)) for length in (1_366, 3_840, 2)]
    assert all(len(piece) % 6 == 0 for piece in pieces)
    total = sum(map(len, pieces)) + len(encoder.finish())
    assert total == (5_208 if isinstance(asked, PcmOutput) else 868)
