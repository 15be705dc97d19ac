"""Frames of a video are those on screen at even times, and its sound starts with it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from antiphon_executor.interface.media import VideoClip
from antiphon_server.errors import BadRequest
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.workers.video_worker import rate_and_count
from tests.server.media.media_samples import ffmpeg, part, pixels_of, strongest_hz

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
H265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none", "-pix_fmt", "yuv420p")
# The picture's grey level is 8 for each 0.1 s that has passed: a clock that can be read from any frame.
CLOCK = "nullsrc=s=96x64:r=10:d=3,geq=lum='16+N*7':cb=128:cr=128"


@lru_cache
def clock_video(*options: str, suffix: str = "mp4", source: str = CLOCK, sound: bool = False) -> bytes:
    tone = ("-f", "lavfi", "-i", "sine=440:d=3:r=48000") if sound else ()
    return ffmpeg("-f", "lavfi", "-i", source, *tone, *options, suffix=suffix)


def read_clock(frames: NDArray[np.uint8]) -> list[float]:
    """Seconds shown by each frame, to the nearest source frame (limited-range luma back to its number)."""
    grey = frames[:, 16:48, 24:72].reshape(len(frames), -1).mean(axis=1)
    return [round(level * 219 / 255 / 7) / 10 for level in grey]


async def watched(loader: MediaLoader, data: bytes, **options: Any) -> VideoClip:
    (clip,) = (await loader.load([part("video", data, **options)])).videos
    return replace(clip, frames=pixels_of(clip))


@pytest.mark.parametrize("fps", [0.5, 1.0, 2.0, 4.0, 5.0, 10.0])
async def test_frame_k_is_the_one_on_screen_at_k_over_fps(loader: MediaLoader, fps: float) -> None:
    clip = await watched(loader, clock_video(*H264), fps=fps)
    assert clip.frames_per_second == fps
    assert len(clip.frames) == np.ceil(3 * fps)
    on_screen = [int(k / fps * 10 + 1e-9) / 10 for k in range(len(clip.frames))]
    assert read_clock(clip.frames) == on_screen


async def test_the_default_rate_is_the_policys(loader: MediaLoader) -> None:
    clip = await watched(loader, clock_video(*H264))
    assert clip.frames_per_second == 2.0
    assert read_clock(clip.frames) == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]


async def test_a_rate_above_the_sources_repeats_frames(loader: MediaLoader) -> None:
    clip = await watched(loader, clock_video(*H264), fps=20.0)
    assert read_clock(clip.frames) == [k // 2 / 10 for k in range(60)]


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("mp4", (*H265, "-c:a", "aac")),
        ("webm", ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-c:a", "libopus")),
        ("webm", ("-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus")),
        ("mkv", (*H264, "-c:a", "aac")),
        ("mov", (*H264, "-c:a", "aac")),
        ("mp4", (*H264, "-c:a", "aac", "-movflags", "faststart")),
        ("mp4", (*H264, "-c:a", "aac", "-movflags", "frag_keyframe+delay_moov")),
        ("mp4", ("-c:v", "libsvtav1", "-preset", "12", "-pix_fmt", "yuv420p", "-c:a", "aac")),
    ],
)  # fmt: skip
async def test_every_container_and_codec_keeps_time(
    loader: MediaLoader, suffix: str, options: tuple[str, ...]
) -> None:
    clip = await watched(loader, clock_video(*options, suffix=suffix, sound=True))
    assert clip.frames.shape == (6, 64, 96, 3)
    assert read_clock(clip.frames) == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert clip.audio is not None
    assert len(clip.audio.samples) == pytest.approx(48_000, abs=400)
    assert strongest_hz(clip.audio.samples[8_000:40_000]) == pytest.approx(440, abs=1)


async def test_the_audio_is_as_long_as_its_track_says(loader: MediaLoader) -> None:
    clip = await watched(loader, clock_video(*H264, "-c:a", "aac", sound=True))
    assert clip.audio is not None
    assert len(clip.audio.samples) == 48_000


async def test_audio_that_starts_late_is_preceded_by_silence(loader: MediaLoader) -> None:
    data = ffmpeg(
        "-f", "lavfi", "-i", CLOCK, "-itsoffset", "1", "-f", "lavfi", "-i", "sine=440:d=1:r=48000",
        *H264, "-c:a", "libopus", suffix="mkv",
    )  # fmt: skip
    clip = await watched(loader, data)
    assert clip.audio is not None
    assert np.abs(clip.audio.samples[:15_000]).max() < 1e-3
    assert np.abs(clip.audio.samples[17_000:30_000]).max() > 0.05


async def test_a_silent_video_has_no_audio(loader: MediaLoader) -> None:
    assert (await watched(loader, clock_video(*H264))).audio is None


async def test_audio_that_nobody_is_to_hear_is_not_decoded(loader: MediaLoader) -> None:
    data = clock_video(*H264, "-c:a", "aac", sound=True)
    assert (await watched(loader, data, use_audio=False)).audio is None


async def test_variable_frame_rate_is_sampled_by_time(loader: MediaLoader) -> None:
    # Dense in the first second, then one frame in ten.
    thin = f"{CLOCK},select='lt(n,10)+not(mod(n,10))'"
    clip = await watched(loader, clock_video(*H264, "-fps_mode", "vfr", suffix="mkv", source=thin))
    assert read_clock(clip.frames) == [0.0, 0.5, 1.0, 1.0, 2.0][: len(clip.frames)]
    assert len(clip.frames) >= 5


async def test_a_rotated_phone_video_stands_upright(loader: MediaLoader) -> None:
    flat = ffmpeg(
        "-f", "lavfi", "-i", "color=red:s=96x64:d=1:r=10,drawbox=0:0:48:64:blue:fill", *H264, suffix="mp4"
    )
    # The 3x3 matrix of the track header: a quarter turn clockwise.
    plain = b"".join(n.to_bytes(4, "big") for n in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
    turned = b"".join(
        n.to_bytes(4, "big", signed=True) for n in (0, 1 << 16, 0, -1 << 16, 0, 0, 64 << 16, 0, 1 << 30)
    )
    start = flat.index(plain, flat.index(b"tkhd"))
    clip = await watched(loader, flat[:start] + turned + flat[start + 36 :])
    assert clip.frames.shape[1:] == (96, 64, 3)
    top, bottom = clip.frames[0, 16, 32], clip.frames[0, 80, 32]
    assert top[2] > 200 > top[0]
    assert bottom[0] > 200 > bottom[2]


async def test_pixels_that_are_not_square_are_made_square(loader: MediaLoader) -> None:
    data = clock_video(*H264, source=f"{CLOCK},setsar=2/1")
    assert (await watched(loader, data)).frames.shape[1:] == (64, 192, 3)


async def test_large_frames_are_scaled_into_the_limit_with_even_sides(loader: MediaLoader) -> None:
    data = ffmpeg("-f", "lavfi", "-i", "testsrc=s=1920x1080:d=0.5:r=4", *H264, suffix="mp4")
    _, height, width, _ = (await watched(loader, data)).frames.shape
    assert height * width <= loader.policy.video_frame_pixels
    assert height % 2 == width % 2 == 0
    assert width / height == pytest.approx(16 / 9, rel=0.01)


async def test_tiny_frames_are_scaled_up_to_one_patch(loader: MediaLoader) -> None:
    data = ffmpeg("-f", "lavfi", "-i", "testsrc=s=16x8:d=0.5:r=4", *H264, suffix="mp4")
    assert (await watched(loader, data)).frames.shape[1:] == (32, 64, 3)


async def test_the_clients_frame_limit_lowers_the_rate_evenly(loader: MediaLoader) -> None:
    clip = await watched(loader, clock_video(*H264), fps=10.0, max_frames=6)
    assert clip.frames_per_second == 2.0
    assert read_clock(clip.frames) == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]


@pytest.mark.parametrize(
    "length_s", [Fraction(1, 25), Fraction(7, 3), Fraction(600), Fraction(59_999, 1_001)]
)
@pytest.mark.parametrize("wanted_fps", [0.1, 1.0, 2.0, 29.97])
@pytest.mark.parametrize("max_frames", [1, 5, 512])
def test_sampling_never_exceeds_the_frames_and_covers_the_length(
    length_s: Fraction, wanted_fps: float, max_frames: int
) -> None:
    rate, frames = rate_and_count(length_s, wanted_fps, max_frames)
    assert 1 <= frames <= max_frames
    assert (frames - 1) / rate < length_s
    assert frames == max_frames or rate == pytest.approx(wanted_fps, rel=1e-3)


async def test_a_short_video_has_as_many_frames_as_are_set_if_it_has_that_many() -> None:
    loader = MediaLoader(MediaPolicy(video_min_frames=4))
    await loader.start()
    try:
        second = clock_video(*H264, source=CLOCK.replace("d=3", "d=1"))
        clip = await watched(loader, second)
        assert (len(clip.frames), clip.frames_per_second) == (4, 4.0)
        assert read_clock(clip.frames) == [0.0, 0.2, 0.5, 0.7]
        three = clock_video(*H264, source=CLOCK.replace("d=3", "d=0.3"))
        assert read_clock((await watched(loader, three)).frames) == [0.0, 0.1, 0.2]
        assert len((await watched(loader, second, max_frames=2)).frames) == 2
    finally:
        await loader.close()


async def test_a_client_can_ask_for_a_number_of_frames(loader: MediaLoader) -> None:
    clip = await watched(loader, clock_video(*H264), frames=5)
    assert clip.frames_per_second == pytest.approx(5 / 3, abs=1e-4)
    assert read_clock(clip.frames) == [0.0, 0.6, 1.2, 1.8, 2.4]


async def test_frames_that_the_video_does_not_have_are_refused(loader: MediaLoader) -> None:
    with pytest.raises(BadRequest, match=r"has fewer frames than nframes, 31. Ask for at most 30"):
        await watched(loader, clock_video(*H264), frames=31)
    with pytest.raises(
        BadRequest, match=r"asks for 769 frames; limit is 768 frames \(--media-video-frames\)"
    ):
        await watched(loader, clock_video(*H264), frames=769)


async def test_a_budget_of_pixels_scales_frames_down(loader: MediaLoader) -> None:
    clip = await watched(loader, clock_video(*H264), total_pixels=6 * 48 * 32 // 2)
    assert clip.frames.shape == (6, 32, 48, 3)


async def test_the_makers_snippets_place_2_fps_as_1_fps() -> None:
    loader = MediaLoader(MediaPolicy(video_placed_fps=1))
    await loader.start()
    try:
        clip = await watched(loader, clock_video(*H264))
        assert (len(clip.frames), clip.frames_per_second) == (6, 1.0)
        assert read_clock(clip.frames) == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    finally:
        await loader.close()


async def test_a_long_video_is_refused_before_a_frame_is_decoded() -> None:
    loader = MediaLoader(MediaPolicy(video_seconds=2))
    await loader.start()
    try:
        with pytest.raises(BadRequest, match=r"video part 1 is 3 s; limit is 2 s \(--media-video-seconds\)"):
            await loader.load([part("video", clock_video(*H264))])
    finally:
        await loader.close()
