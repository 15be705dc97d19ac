"""Pictures are decoded to the size that the model looks at, and counted with the engine's floats."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from antiphon_executor.interface.media_geometry import (
    MediaGeometry,
    PerFrameBounds,
    PixelBounds,
    WholeVideoBounds,
)
from antiphon_server.errors import BadRequest
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox.job import Dimensions
from antiphon_server.media.sizing import Sizing
from tests.server.media.media_samples import ffmpeg, image_file, part
from tests.server.media.weigh_images import NANO_GEOMETRY

SMALL = NANO_GEOMETRY
# Of Qwen3-Omni.
LARGE = MediaGeometry(PixelBounds(32, 65_536, 12_845_056), PerFrameBounds(PixelBounds(32, 131_072, 786_432)))
WHOLE = MediaGeometry(
    PixelBounds(32, 65_536, 16_777_216), WholeVideoBounds(PixelBounds(32, 4_096, 25_165_824))
)
ONE = Part(part("image", ""), 1)
FILM = Part(part("video", ""), 1)
MIB = 1 << 20


@pytest_asyncio.fixture(scope="module")
async def small() -> AsyncIterator[MediaLoader]:
    loader = MediaLoader(MediaPolicy())
    loader.set_geometry(SMALL)
    await loader.start()
    yield loader
    await loader.close()


sides = st.integers(1, 8_000)


@given(geometry=st.sampled_from([SMALL, LARGE, WHOLE]), height=sides, width=sides)
def test_the_model_sees_as_many_tokens_as_without_the_shrinking(
    geometry: MediaGeometry, height: int, width: int
) -> None:
    if max(height, width) > 190 * min(height, width):
        return
    found = Dimensions(1, height, width)
    plain, shrunk = (Sizing(MediaPolicy(), known).image_size(ONE, found) for known in (None, geometry))
    models = geometry.image.fit(height, width)
    if shrunk == plain:
        return
    assert geometry.image.fit(shrunk.height, shrunk.width) == models
    assert (shrunk.height, shrunk.width) == models


@given(geometry=st.sampled_from([SMALL, LARGE, WHOLE]), frames=st.integers(1, 512), height=sides, width=sides)
def test_the_model_resizes_no_frame_that_was_shrunk_for_it(
    geometry: MediaGeometry, frames: int, height: int, width: int
) -> None:
    if max(height, width) > 190 * min(height, width):
        return
    found = Dimensions(frames, height, width)
    plain, shrunk = (Sizing(MediaPolicy(), known).frame_size(FILM, found) for known in (None, geometry))
    if shrunk != plain:
        assert geometry.video.fit(frames, shrunk.height, shrunk.width) == (shrunk.height, shrunk.width)


@given(frames=st.integers(1, 768), total=st.integers(1_000_000, 90_000_000), height=sides, width=sides)
def test_the_frames_of_a_video_share_its_pixels(frames: int, total: int, height: int, width: int) -> None:
    if max(height, width) > 20 * min(height, width):
        return
    film = Part(part("video", "", total_pixels=total), 1)
    size = Sizing(MediaPolicy(), None).frame_size(film, Dimensions(frames, height, width))
    smallest = 32 * 32 * 21
    assert frames * size.height * size.width <= max(2 * total, frames * smallest)


def test_a_video_never_takes_more_than_its_share_of_the_context() -> None:
    found = Dimensions(768, 1_080, 1_920)
    sizing = Sizing(MediaPolicy(), LARGE, context_tokens=65_536)
    size = sizing.frame_size(FILM, found)
    assert 0.75 * 65_536 < LARGE.video_tokens(768, 2.0, (size.height, size.width)) < 0.9 * 65_536


async def test_a_large_image_never_is_larger_than_the_model_looks_at(small: MediaLoader) -> None:
    data = image_file(Image.new("RGB", (3_000, 2_000), (0, 200, 0)), "JPEG")
    (shown,) = (await small.load([part("image", data)])).images
    assert shown.pixels.shape == (*SMALL.image.fit(2_000, 3_000), 3)
    assert np.abs(shown.pixels.astype(int) - (0, 200, 0)).max() < 8


async def test_the_frames_of_a_video_never_are_larger_than_the_model_looks_at(small: MediaLoader) -> None:
    options = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
    data = ffmpeg("-f", "lavfi", "-i", "testsrc=s=1280x720:d=2:r=5", *options, suffix="mp4")
    (clip,) = (await small.load([part("video", data)])).videos
    assert clip.frames.shape == (4, *SMALL.video.fit(4, 720, 1_280), 3)


@pytest.mark.parametrize("geometry", [SMALL, LARGE, WHOLE])
def test_the_floats_of_an_image_are_counted_and_those_of_a_video_are_never_all_there(
    geometry: MediaGeometry,
) -> None:
    sizing = Sizing(MediaPolicy(), geometry)
    size = sizing.image_size(ONE, Dimensions(1, 3_000, 3_000))
    height, width = geometry.image.fit(3_000, 3_000)
    floats = height * width * 3 * geometry.temporal * 4
    assert sizing.image_bytes(size) == 3 * size.height * size.width + floats
    found = Dimensions(5, 720, 1_280, samples=16_000)
    size = sizing.frame_size(FILM, found)
    assert sizing.frames_bytes(found, size) == 3 * 5 * size.height * size.width
    assert sizing.sound_bytes(found) == 64_000


async def test_memory_is_counted_before_a_pixel_is_decoded() -> None:
    held: list[int] = []

    def refuse(size_bytes: int) -> None:
        held.append(size_bytes)
        raise BadRequest("no room")

    loader = MediaLoader(MediaPolicy())
    loader.set_geometry(LARGE)
    await loader.start()
    try:
        whole = image_file(Image.new("RGB", (3_000, 3_000)), "PNG")
        # Without its second half it could not be decoded: refused is what its header says.
        with pytest.raises(BadRequest, match="no room"):
            await loader.load([part("image", whole[: len(whole) // 2])], refuse)
    finally:
        await loader.close()
    height, width = LARGE.image.fit(3_000, 3_000)
    assert held == [3 * 3_000 * 3_000 + 3 * height * width * 2 * 4]


def large_picture() -> bytes:
    """3,000 x 3,000 pixels in few bytes."""
    rows = Image.linear_gradient("L").resize((3_000, 3_000))
    return image_file(Image.merge("RGB", (rows, rows.rotate(90), rows)), "PNG", compress_level=1)


@pytest.mark.heavy
@pytest.mark.promise("R47")
def test_32_images_of_3000_by_3000_stay_within_what_is_counted(tmp_path: Path) -> None:
    """27 MB of pixels each would be 864 MB. Measured in a process that does nothing else."""
    sent = large_picture()
    (tmp_path / "picture.png").write_bytes(sent)
    command = [sys.executable, "-m", "tests.server.media.weigh_images", str(tmp_path / "picture.png"), "32"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=120).stdout)
    sizing = Sizing(MediaPolicy(), SMALL)
    counted = found["counted_bytes"]
    assert found["pixel_bytes"] < counted
    assert counted == 32 * sizing.image_bytes(sizing.image_size(ONE, Dimensions(1, 3_000, 3_000)))
    assert counted < 64 * MIB
    # The bytes that were sent, once more while they are decoded from base64, and what was counted.
    assert found["grown_bytes"] < counted + 32 * len(sent) + 32 * MIB
