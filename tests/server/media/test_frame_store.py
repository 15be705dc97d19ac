"""Frames of videos lie in bounded temporary files, and a video is decoded once for several questions."""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from antiphon_executor.interface.media import AudioClip, StoredFrames, VideoClip
from antiphon_server.errors import BadRequest, InternalError, Overloaded, Unavailable
from antiphon_server.media.frame_store import FrameStore
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.part import Part
from antiphon_server.media.policy import KEPT_SOUND_BYTES, MediaPolicy
from antiphon_server.media.sandbox.pool import Sandbox
from antiphon_server.media.source import MediaSource
from tests.server.media.media_samples import ffmpeg, part, pixels_of
from tests.server.media.test_image import RED, flag_picture, image_file

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac")
SOURCE = ("-f", "lavfi", "-i", "testsrc=s=96x64:d=3:r=10", "-f", "lavfi", "-i", "sine=440:d=3:r=48000")
SHAPE = (2, 5, 10, 3)
SIZE = 300


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Iterator[FrameStore]:
    """Of room for two videos of `SIZE`."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store = FrameStore(2 * SIZE + 50, clock)
    store.start()
    yield store
    store.close()
    assert not list(tmp_path.iterdir())


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The jobs of decoders, as they are run."""
    run_job, seen = Sandbox.run_job, []

    async def noted(self: Sandbox, job: object, *arguments: object) -> object:
        seen.append(job)
        return await run_job(self, job, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Sandbox, "run_job", noted)
    return seen


def made(store: FrameStore, key: str, audio: AudioClip | None = None) -> VideoClip:
    with store.write(Part(part("video", ""), 1), key) as file:
        file.reserve(SIZE)
        file.write(bytes([len(key)]) * (SIZE // 2))
        file.write(bytes([len(key)]) * (SIZE // 2))
        clip = VideoClip(file.finish(SHAPE), 1.0, audio)
    store.remember(key, clip)
    return clip


def files(folder: Path) -> set[str]:
    """When those that are being deleted are gone."""
    for thread in threading.enumerate():
        if thread.name == "delete-frames":
            thread.join(30)
    return {file.name for place in folder.iterdir() for file in place.iterdir()}


async def loaded(loader: MediaLoader, source: MediaSource, owner: str = "") -> VideoClip:
    (clip,) = (await loader.load([source], owner=owner)).videos
    return clip


def test_folders_of_servers_that_were_killed_are_deleted_and_no_others(tmp_path: Path) -> None:
    """Also one that was killed before it had locked its folder."""
    hour_ago = tmp_path.stat().st_mtime - 3_600
    names = ("antiphon-frames-dead", "antiphon-new-frames-dead", "antiphon-new-frames-starts")
    names += ("antiphon-frames-lives", "antiphon-new-frames-lives")
    for name in names:
        (tmp_path / name).mkdir()
        if not name.endswith("starts"):
            os.utime(tmp_path / name, (hour_ago, hour_ago))
    locks = [os.open(tmp_path / name, os.O_RDONLY) for name in names if name.endswith("lives")]
    for lock in locks:
        fcntl.flock(lock, fcntl.LOCK_EX)
    store = FrameStore(SIZE)
    store.start(tmp_path)
    store.close()
    assert {folder.name for folder in tmp_path.iterdir()} == set(names[2:])
    for lock in locks:
        os.close(lock)


async def test_a_second_question_about_a_video_decodes_nothing(
    loader: MediaLoader, jobs: list[object]
) -> None:
    film = ffmpeg(*SOURCE, *H264, suffix="mp4")
    first = await loaded(loader, part("video", film), "alice")
    assert len(jobs) == 1
    again = await loaded(loader, part("video", film, index=3), "alice")
    assert len(jobs) == 1
    assert again == first
    assert again.audio is not None
    assert isinstance(again.frames, StoredFrames)
    assert again.frames.lease is not first.frames.lease  # type: ignore[union-attr]


async def test_a_video_of_another_owner_or_at_another_rate_is_decoded(
    loader: MediaLoader, jobs: list[object]
) -> None:
    film = ffmpeg(*SOURCE, *H264, "-metadata", "title=another", suffix="mp4")
    first = await loaded(loader, part("video", film), "alice")
    for number, (source, owner) in enumerate(
        [
            (part("video", film), "bob"),
            (part("video", film, fps=1.0), "alice"),
            (part("video", film, use_audio=False), "alice"),
            (part("video", film, max_pixels=2_048), "alice"),
        ],
        start=2,
    ):
        other = await loaded(loader, source, owner)
        assert len(jobs) == number
        assert other.frames.path != first.frames.path  # type: ignore[union-attr]


async def test_a_list_of_frames_is_decoded_once(loader: MediaLoader, jobs: list[object]) -> None:
    frames = [image_file(flag_picture(), "PNG")] * 3
    source = part("video", *frames, is_frame_list=True, fps=3.5)
    first = await loaded(loader, source)
    again = await loaded(loader, source)
    assert len(jobs) == 1
    np.testing.assert_array_equal(pixels_of(again), pixels_of(first))
    assert pixels_of(first)[2, 20, 20].tolist() == list(RED)


async def test_a_known_video_still_counts_against_the_limits() -> None:
    film = ffmpeg(*SOURCE, *H264, suffix="mp4")
    loader = MediaLoader(MediaPolicy(request_audio_seconds=5, request_decoded_bytes=1 << 20))
    await loader.start()
    try:
        await loaded(loader, part("video", film))
        with pytest.raises(BadRequest, match=r"brings the request to 6\.0 s of audio"):
            await loader.load([part("video", film), part("video", film, index=1)])
    finally:
        await loader.close()


async def test_frames_leave_the_decoder_in_pieces(
    loader: MediaLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given room for two frames in a piece, then all come in order."""
    film = ffmpeg(*SOURCE, *H264, suffix="mp4")
    whole = await loaded(loader, part("video", film, fps=5.0))
    monkeypatch.setattr("antiphon_server.media.decode.video._PIECE_BYTES", 2 * 64 * 96 * 3)
    sizes: list[int] = []
    write = "antiphon_server.media.frame_store.FrameWriter.write"
    from antiphon_server.media.frame_store import FrameWriter

    plain = FrameWriter.write

    def noted(self: FrameWriter, data: bytes) -> None:
        sizes.append(len(data))
        plain(self, data)

    monkeypatch.setattr(write, noted)
    pieces = await loaded(loader, part("video", film, fps=5.0), "another")
    assert sizes == [2 * 64 * 96 * 3] * 7 + [64 * 96 * 3]
    np.testing.assert_array_equal(pixels_of(pieces), pixels_of(whole))


def test_parts_of_stored_frames_are_read_from_their_place(store: FrameStore) -> None:
    shown = np.random.default_rng(0).integers(0, 256, (5, 2, 3, 3), dtype=np.uint8)
    with store.write(Part(part("video", ""), 1), "key") as file:
        file.write(shown.tobytes())
        frames = file.finish((5, 2, 3, 3))
    np.testing.assert_array_equal(frames.read(), shown)
    np.testing.assert_array_equal(frames.part(1, 4).read(), shown[1:4])
    np.testing.assert_array_equal(frames.part(1, 4).part(2, 9).read(), shown[3:4])
    frames.path.write_bytes(b"short")
    with pytest.raises(OSError, match="has lost frames"):
        frames.part(1, 4).read()


def test_the_video_that_was_used_longest_ago_makes_room(
    store: FrameStore, clock: Clock, tmp_path: Path
) -> None:
    for key in ("a", "bb"):
        made(store, key)
    assert store.find("a") is not None
    clock.now_s += 40
    made(store, "ccc")
    assert store.find("bb") is None
    assert store.find("a") is not None
    assert files(tmp_path) == {"a", "ccc"}
    assert store.size_bytes == 2 * SIZE


def test_idle_videos_make_room_on_a_disk_that_is_nearly_full(
    store: FrameStore, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given less room on the disk than the store may use, else every video would be refused from then on."""
    free = [SIZE]

    def disk_usage(folder: Path) -> SimpleNamespace:
        assert folder.parent == tmp_path
        return SimpleNamespace(free=free[0])

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    made(store, "a")
    clock.now_s += 40
    made(store, "bb")
    assert files(tmp_path) == {"a", "bb"}
    store._delete("a")
    clock.now_s += 40
    free[0] = SIZE - 1
    made(store, "ccc")
    assert files(tmp_path) == {"ccc"}


def test_frames_that_a_request_may_read_stay(store: FrameStore, clock: Clock, tmp_path: Path) -> None:
    """Given leases, of which a copy counts, then no file of theirs is deleted; half a minute later it may."""
    first, second = made(store, "a"), made(store, "bb")
    kept = replace(first.frames, lease=first.frames.lease)  # type: ignore[type-var, union-attr]
    del first
    clock.now_s += 1_000
    with pytest.raises(Overloaded, match=r"limit is .* MiB of frames \(--media-stored-frames-bytes\)"):
        made(store, "ccc")
    assert files(tmp_path) == {"a", "bb"}
    del kept
    clock.now_s += 29
    with pytest.raises(Overloaded):
        made(store, "ccc")
    clock.now_s += 2
    made(store, "ccc")
    assert files(tmp_path) == {"bb", "ccc"}
    del second


def test_a_video_larger_than_the_store_is_refused_by_name(store: FrameStore) -> None:
    with (
        store.write(Part(part("video", ""), 1), "key") as file,
        pytest.raises(BadRequest, match=r"video part 1 has .* \(--media-stored-frames-bytes\)"),
    ):
        file.reserve(3 * SIZE)


def test_a_video_that_is_not_decoded_leaves_nothing(store: FrameStore, tmp_path: Path) -> None:
    with store.write(Part(part("video", ""), 1), "key") as file:
        file.reserve(SIZE)
        file.write(b"half")
        assert store.size_bytes == SIZE
    assert store.size_bytes == 0
    assert not files(tmp_path)


def test_the_same_video_decoded_twice_at_once_is_stored_once(store: FrameStore, tmp_path: Path) -> None:
    source = Part(part("video", ""), 1)
    with store.write(source, "key") as one, store.write(source, "key") as other:
        for file in (one, other):
            file.reserve(SIZE)
            file.write(bytes(SIZE))
        clips = [file.finish(SHAPE) for file in (one, other)]
    assert clips[0] == clips[1]
    assert files(tmp_path) == {"key"}
    assert store.size_bytes == SIZE


def test_a_video_whose_file_a_cleaner_has_deleted_is_not_known(store: FrameStore) -> None:
    clip = made(store, "a")
    clip.frames.path.unlink()  # type: ignore[union-attr]
    assert store.find("a") is None
    again = made(store, "a").frames
    assert isinstance(again, StoredFrames)
    assert again.read().shape == SHAPE
    # The engine keeps what it made of the lost file, NaN, under the name of that file.
    assert again.path.name != clip.frames.path.name  # type: ignore[union-attr]
    assert store.find("a").frames.path == again.path  # type: ignore[union-attr]
    assert store.size_bytes == SIZE


def test_a_video_that_made_room_has_the_same_name_when_it_is_decoded_again(
    store: FrameStore, clock: Clock
) -> None:
    """So the engine still finds the features that it has of it."""
    before = made(store, "a").frames.path  # type: ignore[union-attr]
    clock.now_s += 40
    for key in ("bb", "ccc"):
        made(store, key)
    assert store.find("a") is None
    clock.now_s += 40
    assert made(store, "a").frames.path == before  # type: ignore[union-attr]


def test_the_sound_of_known_videos_is_bounded(store: FrameStore) -> None:
    half = AudioClip(np.broadcast_to(np.float32(0), KEPT_SOUND_BYTES // 8 + 1), "key")
    made(store, "a", half)
    made(store, "bb", half)
    assert store.find("a") is None
    assert store.find("bb") is not None


async def test_the_operator_chooses_the_folder(tmp_path: Path) -> None:
    loader = MediaLoader(MediaPolicy(frames_folder=tmp_path))
    await loader.start()
    try:
        clip = await loaded(loader, part("video", ffmpeg(*SOURCE, *H264, suffix="mp4")))
        assert clip.frames.path.parents[1] == tmp_path  # type: ignore[union-attr]
    finally:
        await loader.close()
    assert next(iter(tmp_path.iterdir()), None) is None  # noqa: ASYNC240
    missing = MediaLoader(MediaPolicy(frames_folder=tmp_path / "missing"))
    with pytest.raises(InternalError, match=r"temporary files: No such file.*; --media-frames-folder names"):
        await missing.start()


async def test_a_lease_may_end_in_any_thread(store: FrameStore, clock: Clock) -> None:
    leases = [made(store, "a").frames.lease, made(store, "bb").frames.lease]  # type: ignore[union-attr]
    await asyncio.to_thread(leases.clear)
    clock.now_s += 31
    assert made(store, "ccc").frames.read().shape == SHAPE  # type: ignore[union-attr]


def test_a_full_disk_is_a_503(store: FrameStore, tmp_path: Path) -> None:
    with store.write(Part(part("video", ""), 1), "key") as file:
        file._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
        with pytest.raises(Unavailable, match="short of disk space"):
            file.write(b"frames")
    assert not files(tmp_path)


class SlowDisk(io.RawIOBase):
    """Takes one piece, and then no more before `may_write` is set."""

    def __init__(self) -> None:
        self.writes, self.may_write = threading.Event(), threading.Event()

    def writable(self) -> bool:
        return True

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        self.writes.set()
        self.may_write.wait(30)
        return min(data.nbytes, 2)


def test_closing_waits_for_no_disk_and_what_still_writes_closes_the_file(store: FrameStore) -> None:
    disk = SlowDisk()
    with store.write(Part(part("video", ""), 1), "key") as file:
        file._file.close()
        file._file = disk
        writing = threading.Thread(target=file.write, args=(b"frames",))
        writing.start()
        assert disk.writes.wait(30)
        file.close()
        assert not disk.closed
        disk.may_write.set()
        writing.join(30)
        assert disk.closed
        file.write(b"more, by a thread that starts late")
