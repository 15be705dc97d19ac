"""Media that cannot fit are refused before they are decoded, with all limits that are too small."""

from __future__ import annotations

import re
import struct
from collections.abc import AsyncIterator, Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_server.errors import BadRequest
from antiphon_server.media.context_room import ContextRoom
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox.job import AudioJob, Job, LengthJob, VideoJob
from antiphon_server.media.sandbox.pool import Outcome, Sandbox
from tests.server.media.media_samples import ffmpeg, image_file, part, tone, wav

CONTEXT = 1_000
LONG_S = 200


@cache
def opus() -> bytes:
    return ffmpeg("-f", "lavfi", "-i", f"sine=d={LONG_S}:r=16000", "-b:a", "16k", suffix="ogg")


@cache
def film() -> bytes:
    video = ("-f", "lavfi", "-i", "testsrc=d=30:r=4:s=320x320")
    return ffmpeg(*video, "-c:v", "libx264", "-preset", "ultrafast", suffix="mp4")


class Jobs(list[type[Job]]):
    """The kinds of jobs that decoders were given."""


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    given, run_job = Jobs(), Sandbox.run_job

    async def note(self: Sandbox, job: Job, *more: Any) -> Outcome:
        given.append(type(job))
        return await run_job(self, job, *more)

    monkeypatch.setattr(Sandbox, "run_job", note)
    return given


@pytest_asyncio.fixture(scope="module")
async def loader_of() -> AsyncIterator[Callable[..., MediaLoader]]:
    """A loader with these limits, over decoders that all share."""
    first = MediaLoader(MediaPolicy())
    await first.start()

    def make(context: int | None = CONTEXT, **limits: Any) -> MediaLoader:
        loader = MediaLoader(MediaPolicy(**limits))
        loader._sandbox, loader._frames = first._sandbox, first._frames
        loader.set_geometry(MediaGeometry(), context)
        return loader

    yield make
    await first.close()


async def refused(loader: MediaLoader, *sources: Any, text_tokens: int = 0) -> BadRequest:
    with pytest.raises(BadRequest) as error:
        await loader.load(sources, text_tokens=text_tokens)
    return error.value


async def test_audio_over_the_context_is_refused_undecoded(
    loader_of: Callable[..., MediaLoader], jobs: Jobs
) -> None:
    error = await refused(loader_of(), part("audio", opus()), text_tokens=100)
    assert error.code == "context_length_exceeded"
    assert error.param == "messages[0].content[0]"
    # 13 tokens a second: 899 are left beside the text and one token of the answer.
    assert error.message == (
        "audio part 1 lasts 200 s and takes 2,599 tokens; that exceeds the model's context of 1,000 tokens. "
        "69 s of it would fit: send less."
    )
    assert jobs == [LengthJob]


async def test_what_fits_according_to_the_refusal_fits(loader_of: Callable[..., MediaLoader]) -> None:
    for seconds, fits in ((69, True), (70, False)):
        plain = wav(tone(seconds, 16_000)[None], 16_000)
        if fits:
            assert (await loader_of().load([part("audio", plain)], text_tokens=100)).audios
        else:
            assert (await refused(loader_of(), part("audio", plain), text_tokens=100)).code == (
                "context_length_exceeded"
            )


async def test_a_refusal_names_every_limit(loader_of: Callable[..., MediaLoader], jobs: Jobs) -> None:
    loader = loader_of(audio_seconds=20, request_audio_seconds=30, request_decoded_bytes=64_000 * 25)
    error = await refused(loader, part("audio", opus()))
    assert error.code == "context_length_exceeded"
    for limit in (
        "context of 1,000 tokens",
        "20 s of one part (--media-audio-seconds)",
        "30 s of audio in a request (--media-request-audio-seconds)",
        "decoded (--media-request-decoded-bytes)",
        "(--media-long raises those of long media together)",
        "20 s of it would fit",
    ):
        assert limit in error.message
    assert jobs == [LengthJob]
    error = await refused(loader_of(None, audio_seconds=20, request_audio_seconds=30), part("audio", opus()))
    assert error.code == "media_limit_exceeded"
    assert "20 s of one part" in error.message
    assert "30 s of audio in a request" in error.message


async def test_parts_share_the_context(loader_of: Callable[..., MediaLoader]) -> None:
    half = wav(tone(45, 16_000)[None], 16_000)
    assert len((await loader_of().load([part("audio", half)])).audios) == 1
    error = await refused(loader_of(), part("audio", half), part("audio", half, index=1))
    assert error.code == "context_length_exceeded"
    assert "lasts 45 s" in error.message


async def test_a_file_that_states_more_than_it_holds_is_heard(
    loader_of: Callable[..., MediaLoader], jobs: Jobs
) -> None:
    plain = bytearray(wav(tone(1.5, 24_000)[None], 24_000))
    struct.pack_into("<I", plain, 40, 2 * 24_000 * 36_000)
    (clip,) = (await loader_of(audio_seconds=6).load([part("audio", bytes(plain))])).audios
    assert abs(clip.seconds - 1.5) < 0.01
    assert jobs == [LengthJob, AudioJob]


async def test_a_short_file_is_not_measured_first(loader_of: Callable[..., MediaLoader], jobs: Jobs) -> None:
    plain = wav(tone(5, 48_000)[None], 48_000)
    await loader_of(32_768).load([part("audio", plain)])
    assert jobs == [AudioJob]


async def test_video_over_the_context_is_refused_before_its_second_frame(
    loader_of: Callable[..., MediaLoader], jobs: Jobs
) -> None:
    error = await refused(loader_of(300), part("video", film(), fps=2.0), text_tokens=250)
    assert error.code == "context_length_exceeded"
    assert "video part 1 lasts 30 s and takes" in error.message
    assert "context of 300 tokens" in error.message
    assert jobs == [VideoJob]


async def test_a_refusal_of_a_video_names_every_limit(loader_of: Callable[..., MediaLoader]) -> None:
    silence = ("-f", "lavfi", "-i", "anullsrc=r=16000", "-t", "30")
    video = ("-f", "lavfi", "-i", "testsrc=d=30:r=4:s=320x320", *silence)
    loud = ffmpeg(*video, "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", suffix="mp4")
    limits = {"request_audio_seconds": 20, "request_decoded_bytes": 1 << 20}
    error = await refused(loader_of(300, **limits), part("video", loud), text_tokens=250)
    assert error.code == "context_length_exceeded"
    context = "context of 300 tokens"
    others = ("1 MiB decoded (--media-request-decoded-bytes)", "20 s of audio in a request")
    for limit in (context, *others, "(--media-long raises those of long media together)"):
        assert limit in error.message
    error = await refused(loader_of(200_000, **limits), part("video", loud))
    assert error.code == "media_limit_exceeded"
    assert all(limit in error.message for limit in others)
    assert context not in error.message


async def test_a_long_video_that_is_refused_has_its_own_length(loader_of: Callable[..., MediaLoader]) -> None:
    """Not that of its frames at the usual rate: it has fewer."""
    error = await refused(loader_of(300, video_frames=20), part("video", film()), text_tokens=250)
    assert "video part 1 lasts 30 s and takes" in error.message
    fits_s = int(error.message.split(" s of it would fit")[0].rsplit(" ", 1)[1])
    assert fits_s < 20 / MediaPolicy().video_fps


async def test_a_number_of_frames_over_the_context_is_refused_by_it(
    loader_of: Callable[..., MediaLoader],
) -> None:
    error = await refused(loader_of(1_300), part("video", film(), frames=40), text_tokens=250)
    assert error.code == "context_length_exceeded"
    assert re.fullmatch(
        r"video part 1 takes [\d,]+ tokens in 40 frames; that exceeds the model's context of 1,300 tokens. "
        r"1,049 are left for it. Lower nframes or max_pixels.",
        error.message,
    )


async def test_images_over_the_context_are_refused(loader_of: Callable[..., MediaLoader]) -> None:
    png = image_file(Image.fromarray(np.zeros((640, 640, 3), np.uint8)), "PNG")
    assert (await loader_of().load([part("image", png)])).images
    error = await refused(loader_of(), *[part("image", png, index=index) for index in range(3)])
    assert error.code == "context_length_exceeded"
    assert "takes 399 tokens" in error.message


@pytest.mark.parametrize("tokens", [-5, 0, 1, 12, 13, 899, 20_000])
def test_the_seconds_that_fit_are_the_most(tokens: int) -> None:
    room = ContextRoom(MediaGeometry(), 262_144, 0)
    seconds = room.audio_seconds_for(tokens)
    assert seconds == 0 or room.audio_tokens(seconds) <= tokens
    assert room.audio_tokens(seconds + 1) > tokens
