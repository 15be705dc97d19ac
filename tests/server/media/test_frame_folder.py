"""The folder of frames: of a server alone, deleted at its end, and files in it without a wait."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from antiphon_server.media.frame_store import FrameStore
from antiphon_server.media.part import Part
from tests.server.media.media_samples import part
from tests.server.media.test_frame_store import (  # noqa: F401
    SHAPE,
    SIZE,
    Clock,
    clock,
    files,
    made,
    store,
)


def test_folders_of_servers_that_were_killed_are_deleted(
    store: FrameStore,  # noqa: F811
    tmp_path: Path,
) -> None:
    (tmp_path / "antiphon-frames-abandoned").mkdir()
    (tmp_path / "antiphon-frames-abandoned" / "key").write_bytes(b"frames")
    (tmp_path / "antiphon-frames-running").mkdir()
    lock = os.open(tmp_path / "antiphon-frames-running", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    clip = made(store, "a")
    other = FrameStore(1)
    other.start()
    other.close()
    os.close(lock)
    assert clip.frames.read().shape == SHAPE  # type: ignore[union-attr]
    assert not (tmp_path / "antiphon-frames-abandoned").exists()
    (tmp_path / "antiphon-frames-running").rmdir()


def test_two_servers_may_start_at_once_in_one_folder(
    store: FrameStore,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given another start between a folder's making and its lock, then the folder stays."""
    other, flock = FrameStore(1), fcntl.flock

    def start_other_first(file: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        other.start()
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", start_other_first)
    third = FrameStore(SIZE)
    third.start()
    assert made(third, "a").frames.read().shape == SHAPE  # type: ignore[union-attr]
    third.close()
    other.close()


def test_deleting_a_large_file_holds_nothing_up(
    store: FrameStore,  # noqa: F811
    tmp_path: Path,
    clock: Clock,  # noqa: F811
) -> None:
    """Given a disk that deletes slowly, then making room for a video and leaving one wait for nothing."""
    may_delete, unlink = threading.Event(), Path.unlink

    def slowly(path: Path, missing_ok: bool = False) -> None:
        may_delete.wait(30)
        unlink(path, missing_ok)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", slowly)
        with store.write(Part(part("video", ""), 1), "half") as file:
            file.write(b"half")
        made(store, "a")
        clock.now_s += 40
        for key in ("bb", "ccc"):
            made(store, key)
        clock.now_s += 40
        again = made(store, "a").frames
        may_delete.set()
        assert files(tmp_path) == {"a", "ccc"}
    assert again.read().shape == SHAPE  # type: ignore[union-attr]
