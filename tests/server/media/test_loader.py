"""All media of a request: order, totals, and one error at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from antiphon_executor.interface.media import Media
from antiphon_server.errors import BadRequest, InternalError, Overloaded
from antiphon_server.media.budget import Budget
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.part import number_parts
from antiphon_server.media.policy import MediaPolicy, flag
from antiphon_server.media.source import MediaKind
from tests.machine import slowness
from tests.server.media.media_samples import (
    ffmpeg,
    image_file,
    part,
    running_decoders,
    tone,
    until_a_decoder_works,
    wav,
)


def coloured(level: int) -> bytes:
    return image_file(Image.new("L", (40, 40), level), "PNG")


@pytest_asyncio.fixture(scope="module")
async def strict() -> AsyncIterator[MediaLoader]:
    loader = MediaLoader(MediaPolicy(request_decoded_bytes=60_000, request_audio_seconds=0.8))
    await loader.start()
    yield loader
    await loader.close()


@pytest.fixture(scope="module")
def slow_video() -> bytes:
    """Takes more than a second to decode."""
    source = "testsrc=s=1280x720:d=12:r=25"
    return ffmpeg("-f", "lavfi", "-i", source, "-c:v", "libx264", "-preset", "ultrafast", suffix="mp4")


async def test_no_media_is_no_work(loader: MediaLoader) -> None:
    assert await loader.load([]) == Media()


async def test_a_loader_that_was_not_started_raises() -> None:
    with pytest.raises(InternalError):
        await MediaLoader(MediaPolicy()).load([part("image", coloured(1))])


async def test_each_kind_keeps_its_order(loader: MediaLoader) -> None:
    video = ffmpeg("-f", "lavfi", "-i", "testsrc=s=96x64:d=1:r=5", "-c:v", "libx264", suffix="mp4")
    sources = [
        part("image", coloured(10), index=0),
        part("audio", wav(tone(0.4, 48_000)[None], 48_000), index=1),
        part("image", coloured(20), index=2),
        part("video", video, index=3),
        part("audio", wav(tone(0.2, 16_000)[None], 16_000), index=4),
        part("image", coloured(30), index=5),
    ]
    media = await loader.load(sources)
    assert [int(shown.pixels[0, 0, 0]) for shown in media.images] == [10, 20, 30]
    assert [len(clip.samples) for clip in media.audios] == [6_400, 3_200]
    assert [len(clip.frames) for clip in media.videos] == [2]


async def test_an_error_names_the_part_among_its_kind(loader: MediaLoader) -> None:
    sources = [part("image", coloured(1)), part("audio", wav(tone(0.1, 16_000)[None], 16_000), index=1)]
    sources.append(part("audio", b"no sound at all", index=7))
    with pytest.raises(BadRequest, match="audio part 2 is plain text") as refusal:
        await loader.load(sources)
    assert refusal.value.param == "messages[0].content[7]"


async def test_one_bad_part_stops_the_others(loader: MediaLoader, slow_video: bytes) -> None:
    started = time.monotonic()
    with pytest.raises(BadRequest):
        await loader.load([part("video", slow_video, fps=10.0), part("audio", b"nothing", index=1)])
    assert time.monotonic() - started < 2 * slowness()
    assert not running_decoders()


async def test_a_cancelled_request_stops_its_decoders(loader: MediaLoader, slow_video: bytes) -> None:
    request = asyncio.create_task(loader.load([part("video", slow_video, fps=10.0)]))
    await until_a_decoder_works()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert not running_decoders()


async def test_too_many_parts_are_refused_unread(loader: MediaLoader) -> None:
    sources = [part("image", "!", index=index) for index in range(33)]
    with pytest.raises(
        BadRequest, match=r"has 33 media parts; limit is 32 \(--media-request-parts\)"
    ) as refusal:
        await loader.load(sources)
    assert refusal.value.param == "messages[0].content[32]"


async def test_several_locations_are_for_frame_lists_only(loader: MediaLoader) -> None:
    with pytest.raises(BadRequest, match="must have exactly one location"):
        await loader.load([part("audio", b"a", b"b")])


@pytest.mark.parametrize("kind", ["audio", "image", "video"])
async def test_decoded_media_has_a_total(strict: MediaLoader, kind: MediaKind) -> None:
    made: dict[MediaKind, bytes] = {
        "audio": wav(tone(4, 48_000)[None], 48_000),
        "image": image_file(Image.new("RGB", (300, 300)), "PNG"),
        "video": ffmpeg("-f", "lavfi", "-i", "testsrc=s=96x64:d=5:r=5", "-c:v", "libx264", suffix="mp4"),
    }
    # Of audio, whose length is known first, all limits are named that are short.
    how = "lasts 4 s; that exceeds" if kind == "audio" else "brings .* limit is"
    with pytest.raises(BadRequest, match=rf"{kind} part 1 {how} .* \(--media-request-decoded-bytes\)"):
        await strict.load([part(kind, made[kind])])


async def test_decoded_bytes_are_reserved_and_can_be_refused(loader: MediaLoader) -> None:
    held: list[int] = []
    sources = [part("image", coloured(1)), part("audio", wav(tone(0.2, 16_000)[None], 16_000), index=1)]
    media = await loader.load(sources, held.append)
    assert sorted(held) == sorted([media.images[0].pixels.nbytes, media.audios[0].samples.nbytes])

    def no_room(size_bytes: int) -> None:
        raise Overloaded(f"no room for {size_bytes}")

    with pytest.raises(Overloaded, match="no room for"):
        await loader.load(sources, no_room)


async def test_audio_has_a_total(strict: MediaLoader) -> None:
    clip = wav(np.zeros((1, 7_000)), 16_000)
    with pytest.raises(BadRequest, match=r"s of audio; limit is 0.8 s \(--media-request-audio-seconds\)"):
        await strict.load([part("audio", clip), part("audio", clip, index=1)])


@given(
    amounts=st.lists(
        st.tuples(st.integers(0, 600), st.integers(0, 600), st.floats(0, 60)), min_size=1, max_size=12
    )
)
def test_any_mix_over_the_budget_is_refused_by_the_limits_name(amounts: list[tuple[int, int, float]]) -> None:
    policy = MediaPolicy(request_bytes=2_000, request_decoded_bytes=2_000, request_audio_seconds=200)
    budget = Budget(policy)
    parts = number_parts([part("audio", "", index=index) for index in range(len(amounts))])
    encoded = decoded = 0
    seconds = 0.0
    try:
        for one, (encoded_bytes, decoded_bytes, length_s) in zip(parts, amounts, strict=True):
            encoded, decoded, seconds = encoded + encoded_bytes, decoded + decoded_bytes, seconds + length_s
            budget.charge_encoded(one, encoded_bytes)
            budget.charge_decoded(one, decoded_bytes)
            budget.charge_audio(one, length_s)
    except BadRequest as refusal:
        over = {
            "request_bytes": encoded > 2_000,
            "request_decoded_bytes": decoded > 2_000,
            "request_audio_seconds": seconds > 200,
        }
        (named,) = (name for name in over if f"({flag(name)})" in refusal.message)
        assert over[named]
        assert refusal.param == one.source.param  # noqa: PT017
    else:
        assert encoded <= 2_000
        assert decoded <= 2_000
        assert seconds <= 200


@settings(max_examples=15, deadline=None)
@given(
    mix=st.lists(
        st.one_of(
            st.tuples(st.just("audio"), st.integers(1_600, 5_000)),
            st.tuples(st.just("image"), st.integers(32, 120)),
        ),
        min_size=1,
        max_size=4,
    )
)
async def test_a_real_mix_is_loaded_whole_or_refused_by_name(
    strict: MediaLoader, mix: list[tuple[str, int]]
) -> None:
    sources = [
        part("audio", wav(np.zeros((1, size)), 16_000), index=index)
        if kind == "audio"
        else part("image", image_file(Image.new("RGB", (size, size)), "PNG"), index=index)
        for index, (kind, size) in enumerate(mix)
    ]
    policy = strict.policy
    total = sum(4 * size if kind == "audio" else 3 * size * size for kind, size in mix)
    seconds = sum(size for kind, size in mix if kind == "audio") / 16_000
    over = {
        "request_decoded_bytes": total > policy.request_decoded_bytes,
        "request_audio_seconds": seconds > policy.request_audio_seconds,
    }
    try:
        media = await strict.load(sources)
    except BadRequest as refusal:
        (named,) = (name for name in over if flag(name) in refusal.message)
        assert over[named]
    else:
        assert not any(over.values())
        assert len(media.audios) + len(media.images) == len(mix)


def test_flags_are_made_of_fields_that_exist() -> None:
    assert flag("audio_seconds") == "--media-audio-seconds"
    with pytest.raises(KeyError):
        flag("audio_minutes")
