"""Speech in every output format decodes to the samples that were encoded."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import io
import subprocess
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import av
import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest

from antiphon_executor.interface.events import SAMPLES_PER_FRAME
from antiphon_server.errors import InternalError
from antiphon_server.media.encode import CODECS, CodecEncoder, encode_file, in_thread, open_encoder
from antiphon_server.media.ffmpeg import find_ffmpeg
from antiphon_server.media.wav_header import wav_header
from antiphon_server.openai_api.options import AudioFormat
from tests.e2e.answers import LOOK_AHEAD_SAMPLES
from tests.echo_engine import sine_pcm
from tests.server.exchange import becomes_true

TONE_HZ = 1_000
PCM = sine_pcm(TONE_HZ, 0, 24_000)
DEADLINE_S = 30.0
# Of a first frame: the vocoder looks ahead.
FIRST_SAMPLES = SAMPLES_PER_FRAME - LOOK_AHEAD_SAMPLES
LOSSY: list[AudioFormat] = ["mp3", "opus", "aac"]


def decode(data: bytes) -> np.ndarray:
    """Any file → mono float at 24 kHz, by ffmpeg's own guess of what it is."""
    output = ("-f", "s16le", "-ar", "24000", "-ac", "1", "pipe:1")
    command = [str(find_ffmpeg()), "-v", "error", "-i", "pipe:0", *output]
    done = subprocess.run(command, input=data, capture_output=True, check=True)
    assert done.stderr == b""
    return np.frombuffer(done.stdout, "<i2").astype(np.float64)


def parts_of(pcm: bytes) -> list[bytes]:
    """Frames of 80 ms."""
    return [pcm[start : start + 3_840] for start in range(0, len(pcm), 3_840)]


def open_files() -> int:
    return sum(isinstance(one, av.container.OutputContainer) for one in gc.get_objects())


def loudest_hz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * 24_000 / len(samples))


async def test_wav_holds_the_very_samples() -> None:
    with wave.open(io.BytesIO(await encode_file(PCM, "wav", DEADLINE_S))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
        assert file.readframes(file.getnframes()) == PCM


def test_the_header_is_the_standard_librarys_at_any_rate() -> None:
    for rate_hz in (16_000, 24_000):
        out = io.BytesIO()
        with wave.open(out, "wb") as file:
            file.setparams((1, 2, rate_hz, 0, "NONE", ""))
            file.writeframes(PCM)
        assert wav_header(len(PCM) // 2, rate_hz) + PCM == out.getvalue()


async def test_pcm16_is_the_samples_themselves() -> None:
    assert await encode_file(PCM, "pcm16", DEADLINE_S) == PCM


async def test_flac_decodes_to_the_very_samples() -> None:
    decoded = decode(await encode_file(PCM, "flac", DEADLINE_S))
    assert decoded.astype("<i2").tobytes() == PCM


async def test_a_whole_flac_knows_how_many_samples_it_has() -> None:
    encoded = await encode_file(PCM, "flac", DEADLINE_S)
    assert encoded[:4] == b"fLaC"
    assert int.from_bytes(encoded[21:26], "big") & ((1 << 36) - 1) == len(PCM) // 2
    # The checksum of the samples too is written last.
    assert encoded[26:42] == hashlib.md5(PCM).digest()


@pytest.mark.parametrize(("audio_format", "lead_in_s"), [("flac", 0.0), ("mp3", 0.0), ("opus", 0.0065)])
async def test_a_whole_file_states_its_length(audio_format: AudioFormat, lead_in_s: float) -> None:
    """Opus counts its lead-in, which players leave out."""
    encoded = await encode_file(PCM, audio_format, DEADLINE_S)
    with av.open(io.BytesIO(encoded)) as file:
        stated_s = (file.duration or 0) / 1_000_000
        decoded = sum(frame.samples for frame in file.decode(audio=0))
        rate_hz = file.streams.audio[0].rate
    assert decoded == len(PCM) // 2 * rate_hz // 24_000
    assert stated_s == pytest.approx(len(PCM) / 2 / 24_000 + lead_in_s, abs=1e-4)


async def test_a_streamed_mp3_states_no_length() -> None:
    """The header precedes the length, so players would show a wrong one."""
    async with open_encoder("mp3", DEADLINE_S) as sound:
        encoded = await sound.encode_pcm(PCM) + await sound.finish_encoding()
    assert encoded
    assert not any(mark in encoded[:1_000] for mark in (b"Xing", b"Info"))


async def test_encoding_starts_no_process_and_leaves_no_descriptor() -> None:
    await encode_file(PCM, "flac", DEADLINE_S)
    process = psutil.Process()
    before = process.num_fds(), len(process.children())
    for _ in range(3):
        await encode_file(PCM, "mp3", DEADLINE_S)
        async with open_encoder("mp3", DEADLINE_S) as sound:
            await sound.encode_pcm(PCM)
            assert (process.num_fds(), len(process.children())) == before
    with pytest.raises(InternalError):
        await encode_file(PCM, "flac", 1e-6)
    assert (process.num_fds(), len(process.children())) == before


@pytest.mark.parametrize("audio_format", LOSSY)
async def test_lossy_formats_keep_the_tone_and_the_length(audio_format: AudioFormat) -> None:
    encoded = await encode_file(PCM, audio_format, DEADLINE_S)
    decoded = decode(encoded)
    assert loudest_hz(decoded) == pytest.approx(TONE_HZ, abs=5)
    assert len(decoded) == pytest.approx(24_000, abs=2_500)
    assert len(encoded) < len(PCM) / 2


@pytest.mark.parametrize("audio_format", [*LOSSY, "flac"])
async def test_a_streamed_encoding_gives_audio_before_the_end(audio_format: AudioFormat) -> None:
    long = sine_pcm(TONE_HZ, 0, 24_000 * 8)
    early = b""
    async with open_encoder(audio_format, DEADLINE_S) as sound:
        for part in parts_of(long):
            early += await sound.encode_pcm(part)
        whole = early + await sound.finish_encoding()
    assert len(early) > len(whole) / 4
    assert loudest_hz(decode(whole)) == pytest.approx(TONE_HZ, abs=5)


@pytest.mark.parametrize(("audio_format", "container"), [("opus", "ogg"), ("flac", "flac")])
async def test_the_first_frame_of_speech_leaves_at_once(audio_format: AudioFormat, container: str) -> None:
    """A header alone would be no sound."""
    async with open_encoder(audio_format, DEADLINE_S) as sound:
        first = await sound.encode_pcm(PCM[: FIRST_SAMPLES * 2])
    with av.open(io.BytesIO(first), format=container) as file:
        assert sum(frame.samples for frame in file.decode(audio=0)) >= 480


@pytest.mark.parametrize(("audio_format", "frames"), [("mp3", 1), ("aac", 2)])
async def test_formats_without_a_header_begin_with_sound(audio_format: AudioFormat, frames: int) -> None:
    """AAC looks one frame ahead."""
    async with open_encoder(audio_format, DEADLINE_S) as sound:
        taken = [await sound.encode_pcm(PCM[: FIRST_SAMPLES * 2])]
        taken += [await sound.encode_pcm(part) for part in parts_of(PCM[FIRST_SAMPLES * 2 :])]
    assert next(number for number, part in enumerate(taken, start=1) if part) == frames


@pytest.mark.parametrize("audio_format", ["pcm16", *LOSSY, "flac"])
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
async def test_a_stream_has_the_rate_that_is_asked_for(audio_format: AudioFormat, rate_hz: int) -> None:
    async with open_encoder(audio_format, DEADLINE_S, rate_hz) as sound:
        whole = b"".join([await sound.encode_pcm(part) for part in parts_of(PCM)])
        whole += await sound.finish_encoding()
    if audio_format == "pcm16":
        assert len(whole) // 2 == pytest.approx(rate_hz, abs=2)
        return
    with av.open(io.BytesIO(whole)) as file:
        # The header of Opus does not state it.
        assert audio_format == "opus" or file.streams.audio[0].rate == rate_hz
    assert loudest_hz(decode(whole)) == pytest.approx(TONE_HZ, abs=5)


async def test_a_stream_without_audio_has_no_bytes() -> None:
    async with open_encoder("mp3", DEADLINE_S) as sound:
        assert await sound.encode_pcm(b"") == b""
        assert await sound.finish_encoding() == b""


async def test_an_encoder_that_fails_is_an_internal_error() -> None:
    sound = CodecEncoder(replace(CODECS["mp3"], container_options={"write_xing": "?"}), DEADLINE_S)
    with pytest.raises(InternalError, match="could not be encoded"):
        await sound.encode_pcm(PCM)


async def test_an_encoder_that_hangs_ends_at_its_deadline() -> None:
    with pytest.raises(InternalError, match="could not be encoded"):
        await in_thread(ThreadPoolExecutor(1), 0.01, time.sleep, 0.2)


@pytest.mark.parametrize("audio_format", [*LOSSY, "flac"])
async def test_a_reader_that_leaves_early_leaves_no_file(audio_format: AudioFormat) -> None:
    """Encoders hold memory that the garbage collector does not see, so it may not run for long."""
    gc.collect()
    gc.disable()
    try:
        before = open_files()
        for wait_s in (DEADLINE_S, DEADLINE_S, 0):
            with suppress(TimeoutError):
                async with open_encoder(audio_format, DEADLINE_S) as sound, asyncio.timeout(wait_s):
                    await sound.encode_pcm(PCM)
        assert await becomes_true(lambda: open_files() == before, 5)
    finally:
        gc.enable()


async def test_an_encoder_that_failed_leaves_no_file() -> None:
    codec = replace(CODECS["mp3"], container_options={"write_xing": "?"})
    gc.collect()
    gc.disable()
    try:
        before = open_files()
        sound = CodecEncoder(codec, DEADLINE_S)
        with pytest.raises(InternalError):
            await sound.encode_pcm(PCM)
        sound.abandon()
        assert await becomes_true(lambda: open_files() == before, 5)
    finally:
        gc.enable()


async def test_files_of_minutes_keep_no_stream_waiting() -> None:
    long = PCM * 120
    files = [asyncio.create_task(encode_file(long, "flac", DEADLINE_S)) for _ in range(6)]
    await asyncio.sleep(0)
    async with open_encoder("mp3", DEADLINE_S) as sound:
        assert await sound.encode_pcm(PCM)
    assert sum(file.done() for file in files) < 4
    await asyncio.gather(*files)


async def test_a_reader_that_leaves_early_harms_no_other() -> None:
    """Its thread may still encode."""
    async with open_encoder("aac", DEADLINE_S) as sound:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await sound.encode_pcm(PCM * 20)
    assert loudest_hz(decode(await encode_file(PCM, "aac", DEADLINE_S))) == pytest.approx(TONE_HZ, abs=5)
