"""Audio of every accepted format is decoded to the same mono samples at 16 kHz."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from antiphon_executor.interface.errors import RequestFailed
from antiphon_executor.interface.media import AudioClip, KnownClip
from antiphon_server.errors import BadRequest, Overloaded
from antiphon_server.media.decode import audio
from antiphon_server.media.decode.audio import MIN_SAMPLES
from antiphon_server.media.decode.known_files import KnownFile, KnownFiles
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.policy import MediaPolicy
from tests.server.media.media_samples import ffmpeg, part, speech, strongest_hz, tone, wav


@pytest.fixture
def known_to_engine(loader: MediaLoader) -> Iterator[MediaLoader]:
    """An engine has the features of every file that it was sent in the last minute."""
    loader.remember_files(60)
    yield loader
    loader.remember_files(0)


async def heard(loader: MediaLoader, data: bytes) -> AudioClip:
    media = await loader.load([part("audio", data)])
    assert not media.images
    assert not media.videos
    (clip,) = media.audios
    assert clip.samples.dtype == np.float32
    assert clip.samples.ndim == 1
    return clip


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
async def test_a_pcm_wav_keeps_its_length_and_pitch(loader: MediaLoader, bits: int, rate_hz: int) -> None:
    clip = await heard(loader, wav(tone(0.5, rate_hz)[None], rate_hz, bits))
    assert len(clip.samples) == 8_000
    assert strongest_hz(clip.samples) == pytest.approx(440, abs=2)
    middle = clip.samples[1_000:-1_000]
    expected = tone(0.5, 16_000)[1_000:-1_000]
    assert np.abs(middle - expected).max() < (0.02 if bits == 8 else 0.002)


async def test_a_plain_wav_is_the_samples_themselves(loader: MediaLoader) -> None:
    pcm = np.random.default_rng(0).integers(-32_768, 32_767, 4_000)
    clip = await heard(loader, wav(pcm[None] / 32_768, 16_000))
    assert np.array_equal(clip.samples, (pcm / 32_768).astype(np.float32))


async def test_the_fast_path_and_ffmpeg_agree_to_the_bit(loader: MediaLoader) -> None:
    plain = wav(tone(0.3, 16_000)[None], 16_000)
    # A wider "fmt " chunk says the same, but is not plain.
    wide = plain[:16] + (18).to_bytes(4, "little") + plain[20:36] + b"\0\0" + plain[36:]
    assert np.array_equal((await heard(loader, plain)).samples, (await heard(loader, wide)).samples)


@pytest.mark.promise("R33")
@pytest.mark.parametrize("work", ["read_plain_wav", "clip_values"])
async def test_the_event_loop_never_scans_the_samples(
    loader: MediaLoader, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    """Half an hour of audio would block it for 0.1 s."""
    threads: list[threading.Thread] = []
    real = getattr(audio, work)

    def watched(given: Any) -> Any:
        threads.append(threading.current_thread())
        return real(given)

    monkeypatch.setattr(audio, work, watched)
    await heard(loader, wav(tone(0.3, 16_000)[None], 16_000))
    assert threads
    assert threading.main_thread() not in threads


async def test_nothing_above_8_khz_folds_back(loader: MediaLoader) -> None:
    clip = await heard(loader, wav(tone(0.5, 48_000, hz=11_000)[None], 48_000))
    assert np.abs(clip.samples[500:-500]).max() < 1e-3


async def test_7_khz_survives_the_resampling(loader: MediaLoader) -> None:
    clip = await heard(loader, wav(tone(0.5, 48_000, hz=7_000)[None], 48_000))
    assert strongest_hz(clip.samples) == pytest.approx(7_000, abs=4)
    assert np.sqrt(np.mean(clip.samples[500:-500] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize(("side", "weight"), [(0, 0.5), (1, 0.5)])
async def test_stereo_is_the_mean(loader: MediaLoader, side: int, weight: float) -> None:
    channels = np.zeros((2, 8_000))
    channels[side] = 0.8
    clip = await heard(loader, wav(channels, 16_000))
    assert clip.samples[4_000] == pytest.approx(0.8 * weight, abs=1e-3)


# ITU-R BS.775: left and right at -3 dB, centre 0 dB, surrounds at -6 dB, no LFE; scaled to a sum of 1.
@pytest.mark.parametrize(
    ("channel", "weight"), [(0, 0.7071), (1, 0.7071), (2, 1.0), (3, 0.0), (4, 0.5), (5, 0.5)]
)
async def test_surround_is_mixed_by_the_itu_weights(loader: MediaLoader, channel: int, weight: float) -> None:
    channels = np.zeros((6, 8_000))
    channels[channel] = 0.8
    data = ffmpeg(
        "-channel_layout", "5.1", "-i", "in.wav", "-c:a", "flac",
        suffix="flac", files={"in.wav": wav(channels, 16_000)},
    )  # fmt: skip
    clip = await heard(loader, data)
    assert clip.samples[4_000] == pytest.approx(0.8 * weight / 3.4142, abs=1e-3)


async def test_full_scale_on_every_channel_does_not_clip(loader: MediaLoader) -> None:
    clip = await heard(loader, wav(np.full((2, 8_000), 0.999), 16_000))
    assert np.abs(clip.samples).max() <= 1.0


@pytest.mark.parametrize(
    ("suffix", "options", "slack_samples"),
    [
        ("flac", ("-c:a", "flac"), 0),
        ("mp3", ("-c:a", "libmp3lame"), 0),
        ("opus", ("-c:a", "libopus"), 0),
        ("ogg", ("-c:a", "libvorbis"), 0),
        ("webm", ("-c:a", "libopus"), 160),
        # AAC ends on a whole frame of 1,024 samples; bare ADTS also keeps the encoder's lead-in.
        ("m4a", ("-c:a", "aac"), 1_024),
        ("aac", ("-c:a", "aac"), 2_200),
    ],
)
async def test_coded_audio_keeps_its_length_and_pitch(
    loader: MediaLoader, suffix: str, options: tuple[str, ...], slack_samples: int
) -> None:
    data = ffmpeg(
        "-i", "in.wav", *options, suffix=suffix, files={"in.wav": wav(tone(2, 48_000)[None], 48_000)}
    )
    clip = await heard(loader, data)
    assert 0 <= len(clip.samples) - 32_000 <= slack_samples
    assert strongest_hz(clip.samples[8_000:24_000]) == pytest.approx(440, abs=1)
    level = np.sqrt(np.mean(clip.samples[8_000:24_000] ** 2))
    assert level == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


async def test_speech_comes_through(loader: MediaLoader) -> None:
    clip = await heard(loader, speech("antiphon"))
    assert 0.4 < clip.seconds < 3
    assert np.abs(clip.samples).max() > 0.1


async def test_a_float_wav_beyond_full_scale_is_clipped(loader: MediaLoader) -> None:
    data = ffmpeg(
        "-i", "in.wav", "-af", "volume=4:precision=float", "-c:a", "pcm_f32le",
        suffix="wav", files={"in.wav": wav(tone(0.3, 16_000)[None], 16_000, bits=32)},
    )  # fmt: skip
    clip = await heard(loader, data)
    assert np.abs(clip.samples).max() == 1.0


async def test_a_few_samples_are_padded_to_the_floor(loader: MediaLoader) -> None:
    clip = await heard(loader, wav(np.full((1, 10), 0.5), 16_000))
    assert len(clip.samples) == MIN_SAMPLES
    assert np.all(clip.samples[10:] == 0)


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
async def test_no_samples_are_refused(loader: MediaLoader, rate_hz: int) -> None:
    with pytest.raises(BadRequest, match=r"audio part 1 (contains no audio|could not be decoded)"):
        await loader.load([part("audio", wav(np.zeros((1, 0)), rate_hz))])


@pytest.mark.parametrize("suffix", ["wav", "mp3", "opus"])
async def test_long_audio_is_refused_with_its_length(suffix: str) -> None:
    data = ffmpeg("-f", "lavfi", "-i", "sine=440:d=12:r=16000", suffix=suffix)
    loader = MediaLoader(MediaPolicy(audio_seconds=3))
    await loader.start()
    try:
        with pytest.raises(BadRequest) as refusal:
            await loader.load([part("audio", data)])
    finally:
        await loader.close()
    assert refusal.value.message == (
        "audio part 1 is 12 s; limit is 3 s (--media-audio-seconds). Split the file or raise the limit."
    )
    assert refusal.value.param == "messages[0].content[0]"


async def test_a_file_that_was_decoded_before_is_decoded_again_only_if_the_engine_asks() -> None:
    data = ffmpeg("-f", "lavfi", "-i", "sine=440:d=2:r=16000", suffix="opus")
    loader = MediaLoader(MediaPolicy(request_audio_seconds=5))
    loader.remember_files(60)
    await loader.start()
    try:
        first = (await loader.load([part("audio", data)])).audios[0]
        again = (await loader.load([part("audio", data)])).audios[0]
        other = (await loader.load([part("audio", data + b"0")])).audios[0]
        assert isinstance(first, AudioClip)
        assert isinstance(again, KnownClip)
        assert isinstance(other, AudioClip)
        assert (again.key, again.num_samples) == (first.key, first.num_samples)
        assert other.key != first.key
        decoded = await asyncio.to_thread(again.decode)
        assert isinstance(decoded, AudioClip)
        np.testing.assert_array_equal(decoded.samples, first.samples)
        with pytest.raises(BadRequest, match="brings the request to"):
            await loader.load([part("audio", data)] * 3)
    finally:
        await loader.close()


async def test_a_file_that_another_client_sent_is_not_known(known_to_engine: MediaLoader) -> None:
    sound = [part("audio", wav(tone(1, 16_000)[None], 16_000))]
    kinds = [
        type((await known_to_engine.load(sound, owner=owner)).audios[0])
        for owner in ("alice", "bob", "alice", "bob", "")
    ]
    assert kinds == [AudioClip, AudioClip, KnownClip, KnownClip, AudioClip]


@pytest.mark.parametrize(
    ("kept_audio_s", "seconds", "channels"), [(0, 1, 1), (2, 2, 1), (60, 1, 3)], ids=["off", "long", "large"]
)
async def test_a_file_is_not_known_without_features_or_if_it_is_larger_than_its_samples(
    loader: MediaLoader, kept_audio_s: float, seconds: int, channels: int
) -> None:
    loader.remember_files(kept_audio_s)
    sound = [part("audio", wav(np.stack([tone(seconds, 16_000)] * channels), 16_000))]
    for _ in range(2):
        assert isinstance((await loader.load(sound)).audios[0], AudioClip)


def test_files_are_known_up_to_half_of_the_audio_that_the_engine_keeps() -> None:
    known = KnownFiles(10)
    file = KnownFile("clip", 2 * 16_000)
    for key in ("first", "second", "second"):
        known.remember(key, file)
    assert known.find("first") == file
    known.remember("third", file)
    assert [known.find(key) for key in ("first", "second", "third")] == [file, None, file]


def test_a_file_of_most_of_the_kept_audio_is_the_only_one_that_is_known() -> None:
    known, short, long = KnownFiles(10), KnownFile("short", 16_000), KnownFile("long", 9 * 16_000)
    known.remember("short", short)
    known.remember("long", long)
    assert (known.find("short"), known.find("long")) == (None, long)
    known.remember("short", short)
    assert (known.find("short"), known.find("long")) == (short, None)
    known.remember("too long", KnownFile("too long", 9 * 16_000 + 1))
    assert known.find("too long") is None


async def test_a_file_that_takes_long_to_decode_again_ends_its_request_and_is_forgotten(
    known_to_engine: MediaLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = [part("audio", wav(tone(1, 16_000)[None], 16_000))]
    await known_to_engine.load(sound)
    [clip] = (await known_to_engine.load(sound)).audios
    assert isinstance(clip, KnownClip)
    may_go_on = threading.Event()
    read = audio.read_plain_wav
    monkeypatch.setattr(audio, "_DECODE_AGAIN_S", 0.05)
    monkeypatch.setattr(audio, "read_plain_wav", lambda data: may_go_on.wait(30) and read(data))
    with pytest.raises(RequestFailed, match=r"longer than 0.05 s to decode again; send the request again"):
        await asyncio.to_thread(clip.decode)
    may_go_on.set()
    assert isinstance((await known_to_engine.load(sound)).audios[0], AudioClip)


async def test_a_file_that_no_decoder_is_free_for_a_second_time_ends_its_request(
    known_to_engine: MediaLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = [part("audio", wav(tone(1, 16_000)[None], 16_000))]
    await known_to_engine.load(sound)
    [clip] = (await known_to_engine.load(sound)).audios
    assert isinstance(clip, KnownClip)

    def refuse(_: bytes) -> None:
        raise Overloaded("full", retry_after_s=1)

    monkeypatch.setattr(audio, "read_plain_wav", refuse)
    with pytest.raises(RequestFailed, match="could not be decoded a second time"):
        await asyncio.to_thread(clip.decode)
