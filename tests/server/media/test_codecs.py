"""Files with less common codecs, as devices write them, are decoded, or refused with the accepted codecs."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from antiphon_server.errors import BadRequest
from antiphon_server.media.loader import MediaLoader
from tests.server.media.media_samples import ffmpeg, ffmpeg_each, part, pixels_of, strongest_hz, tone, wav

TONE = ("-f", "lavfi", "-i", "sine=440:d=2:r=48000")
PICTURE = ("-f", "lavfi", "-i", "testsrc=s=176x144:d=2:r=10")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")

DEVICES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("wav", ("-c:a", "adpcm_ms")),
    ("wav", ("-c:a", "adpcm_ima_wav")),
    ("wav", ("-c:a", "libmp3lame")),
    ("wav", ("-c:a", "pcm_f64le")),
    ("wav", ("-rf64", "always")),
    ("w64", ()),
    ("aiff", ()),
    ("aiff", ("-c:a", "pcm_s24be")),
    ("aiff", ("-c:a", "pcm_f32be")),
    ("au", ()),
    ("au", ("-c:a", "pcm_mulaw")),
    ("caf", ()),
    ("caf", ("-c:a", "alac")),
    ("mka", ("-c:a", "ac3")),
    ("mka", ("-c:a", "eac3")),
    ("mov", ("-c:a", "pcm_s16be")),
    ("mov", ("-c:a", "pcm_s24be")),
    ("mov", ("-c:a", "adpcm_ima_qt")),
    ("avi", ("-c:a", "libmp3lame")),
    ("ts", ("-c:a", "aac")),
    ("ts", ("-c:a", "mp2")),
    ("ts", ("-c:a", "ac3")),
)


@lru_cache
def made(*arguments: str, suffix: str) -> bytes:
    return ffmpeg(*arguments, suffix=suffix)


@lru_cache
def tones() -> dict[tuple[str, tuple[str, ...]], bytes]:
    return dict(zip(DEVICES, ffmpeg_each(*TONE, outputs=DEVICES), strict=True))


@pytest.mark.parametrize(("suffix", "options"), DEVICES)
async def test_audio_of_devices_and_studios_is_decoded(
    loader: MediaLoader, suffix: str, options: tuple[str, ...]
) -> None:
    (clip,) = (await loader.load([part("audio", tones()[suffix, options])])).audios
    assert clip.seconds == pytest.approx(2, abs=0.15)
    assert strongest_hz(clip.samples[4_000:28_000]) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("channels", [3, 4, 5, 6, 8])
async def test_channels_without_a_layout_get_the_usual_one(loader: MediaLoader, channels: int) -> None:
    plain = wav(np.tile(tone(0.5, 16_000, level=0.3), (channels, 1)), 16_000)
    (clip,) = (await loader.load([part("audio", plain)])).audios
    assert len(clip.samples) == 8_000
    assert strongest_hz(clip.samples) == pytest.approx(440, abs=4)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("mp4", ("-c:v", "mpeg4")),
        ("mov", ("-c:v", "mjpeg", "-pix_fmt", "yuvj422p")),
        ("avi", ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p")),
        ("avi", ("-c:v", "mpeg4", "-bf", "2")),
        ("avi", H264),
        ("3gp", ("-c:v", "h263")),
        ("ts", H264),
    ],
)
async def test_images_of_older_devices_are_decoded(
    loader: MediaLoader, suffix: str, options: tuple[str, ...]
) -> None:
    (clip,) = (await loader.load([part("video", made(*PICTURE, *options, suffix=suffix))])).videos
    assert clip.frames.shape == (4, 144, 176, 3)
    apart = np.abs(np.diff(pixels_of(clip).astype(int), axis=0)).reshape(3, -1).max(axis=1)
    assert (apart > 100).all(), "the clock in the picture runs"


async def error_of_report(loader: MediaLoader, kind: Any, data: bytes, **options: Any) -> str:
    with pytest.raises(BadRequest) as refusal:
        await loader.load([part(kind, data, **options)])
    assert "damaged" not in refusal.value.message
    return refusal.value.message


async def test_images_in_a_codec_that_is_not_decoded_are_named(loader: MediaLoader) -> None:
    data = made(*PICTURE, "-c:v", "prores", suffix="mov")
    assert await error_of_report(loader, "video", data) == (
        "video part 1 has video in a format that is not decoded (ProRes). "
        "Send H.264, H.265, VP8, VP9, AV1, MPEG-4 part 2, H.263 or Motion JPEG."
    )


async def test_audio_alone_that_is_unsupported_can_be_left_out(loader: MediaLoader) -> None:
    data = made(*PICTURE, *TONE, *H264, "-c:a", "dca", "-strict", "-2", suffix="mkv")
    message = await error_of_report(loader, "video", data)
    assert message.startswith("video part 1 has audio in a format that is not decoded (DTS). Send AAC, ")
    assert message.endswith(", or set use_audio_in_video to false.")
    (clip,) = (await loader.load([part("video", data, use_audio=False)])).videos
    assert len(clip.frames) == 4


async def test_a_unsupported_codec_of_an_audio_part_is_named(loader: MediaLoader) -> None:
    data = made(*TONE, "-c:a", "dca", "-strict", "-2", suffix="mka")
    message = await error_of_report(loader, "audio", data)
    assert re.search(r"audio part 1 has audio .*\(DTS\)\. Send AAC, .* or PCM\.$", message)


async def test_audio_sent_as_video_says_so(loader: MediaLoader) -> None:
    data = made(*TONE, "-c:a", "aac", suffix="m4a")
    message = await error_of_report(loader, "video", data)
    assert message == "video part 1 contains no video, only audio. Send it as input_audio, or send a video."


async def test_a_silent_video_sent_as_audio_says_so(loader: MediaLoader) -> None:
    data = made(*PICTURE, *H264, suffix="mp4")
    message = await error_of_report(loader, "audio", data)
    assert message == "audio part 1 contains no audio. Send a file with an audio track."


async def test_a_narrow_video_names_its_size(loader: MediaLoader) -> None:
    data = made("-f", "lavfi", "-i", "testsrc=s=2x400:d=1:r=5", *H264, suffix="mp4")
    assert "video part 1 has 2 x 400 pixels; limit is 190" in await error_of_report(loader, "video", data)
