"""Audio of exactly the limit is accepted in every container; 0.1 s more is refused, never cut."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cache

import numpy as np
import pytest
import pytest_asyncio

from antiphon_server.errors import BadRequest
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.policy import MediaPolicy
from tests.server.media.media_samples import ffmpeg_each, part, tone, wav

pytestmark = pytest.mark.heavy

LIMIT_S = 6.0
CONTAINERS = {
    "wav": ("-c:a", "pcm_s16le"),
    "w64": (),
    "aiff": (),
    "au": (),
    "caf": (),
    "flac": (),
    "mp3": ("-c:a", "libmp3lame"),
    "ogg": ("-c:a", "libvorbis"),
    "opus": ("-c:a", "libopus"),
    "webm": ("-c:a", "libopus"),
    "mka": ("-c:a", "aac"),
    "m4a": ("-c:a", "aac"),
    "mp4": ("-c:a", "libopus", "-strict", "-2"),
    "aac": ("-c:a", "aac"),
    "ts": ("-c:a", "aac"),
    "avi": ("-c:a", "libmp3lame"),
}


@pytest_asyncio.fixture(scope="module")
async def strict() -> AsyncIterator[MediaLoader]:
    loader = MediaLoader(MediaPolicy(audio_seconds=LIMIT_S))
    await loader.start()
    yield loader
    await loader.close()


@cache
def all_made(seconds: float, rate_hz: int) -> dict[str, bytes]:
    """By suffix."""
    plain = wav(tone(seconds, rate_hz)[None], rate_hz)
    files = ffmpeg_each("-i", "in.wav", outputs=list(CONTAINERS.items()), files={"in.wav": plain})
    return dict(zip(CONTAINERS, files, strict=True))


def made(suffix: str, seconds: float, rate_hz: int = 48_000) -> bytes:
    return all_made(seconds, rate_hz)[suffix]


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
@pytest.mark.parametrize("suffix", CONTAINERS)
async def test_audio_of_just_the_limit_is_taken_whole(strict: MediaLoader, suffix: str, rate_hz: int) -> None:
    (clip,) = (await strict.load([part("audio", made(suffix, LIMIT_S, rate_hz))])).audios
    assert LIMIT_S - 0.01 < clip.seconds <= LIMIT_S
    assert np.abs(clip.samples[-3_000:-1_500]).max() > 0.3, "the tone lasts to the end"


@pytest.mark.parametrize("suffix", CONTAINERS)
async def test_a_tenth_of_a_second_beyond_the_limit_is_refused_with_the_length(
    strict: MediaLoader, suffix: str
) -> None:
    with pytest.raises(BadRequest) as refusal:
        await strict.load([part("audio", made(suffix, LIMIT_S + 0.1))])
    assert refusal.value.message == (
        "audio part 1 is 6.1 s; limit is 6 s (--media-audio-seconds). Split the file or raise the limit."
    )


@pytest.mark.parametrize("suffix", CONTAINERS)
async def test_audio_far_beyond_the_limit_is_refused_with_its_whole_length(
    strict: MediaLoader, suffix: str
) -> None:
    with pytest.raises(BadRequest, match=r"audio part 1 is 20(\.1)? s; limit is 6 s"):
        await strict.load([part("audio", made(suffix, 20))])


async def test_a_length_that_rounds_to_the_limit_is_shown_as_longer(strict: MediaLoader) -> None:
    plain = wav(tone(LIMIT_S + 0.02, 16_000)[None], 16_000)
    with pytest.raises(BadRequest, match=r"audio part 1 is 6\.1 s; limit is 6 s"):
        await strict.load([part("audio", plain)])
