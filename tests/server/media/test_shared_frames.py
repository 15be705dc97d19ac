"""Frames of a video are read while they are written, under the name that their file will have."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon_executor.interface.media import VideoClip
from antiphon_server.media.frame_store import FrameStore
from antiphon_server.media.part import Part
from tests.server.media.media_samples import part
from tests.server.media.test_frame_store import SHAPE, SIZE, Clock, clock, files, made, store  # noqa: F401


def test_a_video_can_be_read_while_it_is_written(store: FrameStore, tmp_path: Path) -> None:  # noqa: F811
    with store.write(Part(part("video", ""), 1), "key") as file:
        file.reserve(SIZE)
        shared = file.share(SHAPE)
        assert shared is not None
        with pytest.raises(OSError, match="lost frames"):
            shared.part(0, 1).read()
        file.write(bytes([1]) * (SIZE // 2))
        assert shared.part(0, 1).read().all()
        file.write(bytes([2]) * (SIZE // 2))
        clip = VideoClip(file.finish(SHAPE), 1.0)
    assert clip.frames == shared, "the engine keeps what it has read under this name"
    assert (shared.read()[1] == 2).all()
    assert files(tmp_path) == {"key"}
    assert store.size_bytes == SIZE


def test_an_unfinished_video_that_is_read_stays_until_others_need_its_room(
    store: FrameStore,  # noqa: F811
    tmp_path: Path,
    clock: Clock,  # noqa: F811
) -> None:
    """The engine would keep a lost frame, NaN, under the name of the video."""
    with store.write(Part(part("video", ""), 1), "key") as file:
        file.reserve(SIZE)
        shared = file.share(SHAPE)
        file.write(bytes([1]) * (SIZE // 2))
    assert shared is not None
    assert shared.part(0, 1).read().all()
    assert store.find("key") is None
    assert store.size_bytes == SIZE // 2
    clock.now_s += 31
    made(store, "a")
    made(store, "bb")
    assert files(tmp_path) == {"a", "bb"}
    assert store.size_bytes == 2 * SIZE


def test_a_video_that_was_once_unfinished_is_stored_under_its_name(store: FrameStore, tmp_path: Path) -> None:  # noqa: F811
    source = Part(part("video", ""), 1)
    with store.write(source, "key") as file:
        shared = file.share(SHAPE)
        file.write(bytes([1]) * (SIZE // 2))
    with store.write(source, "key") as file:
        assert file.share(SHAPE) is None, "the engine may still read the other file of this name"
        file.write(bytes([1]) * SIZE)
        frames = file.finish(SHAPE)
    assert frames == shared
    assert frames.read().all()
    assert files(tmp_path) == {"key"}
    assert store.size_bytes == SIZE


@pytest.mark.parametrize("first", [0, 1])
def test_a_video_that_two_requests_decode_is_read_for_one_of_them(
    store: FrameStore,  # noqa: F811
    tmp_path: Path,
    first: int,
) -> None:
    source = Part(part("video", ""), 1)
    with store.write(source, "key") as one, store.write(source, "key") as other:
        shared = one.share(SHAPE)
        assert shared is not None
        assert other.share(SHAPE) is None
        for file in (one, other):
            file.write(bytes([1]) * SIZE)
        ended = [one, other] if first == 0 else [other, one]
        clips = [file.finish(SHAPE) for file in ended]
        assert shared.read().all()
    assert clips[0] == clips[1] == shared
    assert files(tmp_path) == {"key"}
