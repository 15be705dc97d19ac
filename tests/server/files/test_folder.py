"""The folder of uploaded files: leftovers, what others put into it, and servers that would share it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from antiphon_server.errors import NotFound
from antiphon_server.files.folder import FolderInUse
from tests.server.files.test_store import WAV, Clock, names, opened, put


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "files"


async def test_the_scan_removes_leftovers_and_leaves_foreign_names(folder: Path, clock: Clock) -> None:
    store = opened(folder, clock)
    kept = await put(store)
    damaged, shorter, orphan = [await put(store) for _ in range(3)]
    store.close()
    (folder / f"{damaged.id}.json").write_text('{"id": ')
    (folder / f"{shorter.id}.data").write_bytes(WAV[:-1])
    (folder / f"{orphan.id}.json").unlink()
    (folder / f"file-{'0' * 32}.part").write_bytes(b"half")
    (folder / "notes.txt").write_text("not ours")
    again = opened(folder, clock)
    assert again.of_key("key") == [kept]
    assert names(folder) == {f"{kept.id}.data", f"{kept.id}.json", "notes.txt"}
    again.close()


async def test_links_and_pipes_in_place_of_a_file_are_never_read(
    folder: Path, clock: Clock, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(WAV)
    store = opened(folder, clock)
    records = [await put(store) for _ in range(4)]
    by_link, by_hard_link, by_pipe, by_record = records
    for record in records[:3]:
        (folder / f"{record.id}.data").unlink()
    (folder / f"{by_link.id}.data").symlink_to(secret)
    (folder / f"{by_hard_link.id}.data").hardlink_to(secret)
    os.mkfifo(folder / f"{by_pipe.id}.data")
    for record in records[:3]:
        with pytest.raises(NotFound):
            store.find("key", record.id).open()
    store.close()
    text = (folder / f"{by_record.id}.json").read_bytes()
    (tmp_path / "record").write_bytes(text)
    (folder / f"{by_record.id}.json").unlink()
    (folder / f"{by_record.id}.json").symlink_to(tmp_path / "record")
    again = opened(folder, clock)
    assert again.of_key("key") == []
    assert secret.read_bytes() == WAV
    again.close()


async def test_one_server_uses_a_folder(folder: Path, clock: Clock) -> None:
    store = opened(folder, clock)
    with pytest.raises(FolderInUse):
        opened(folder, clock)
    store.close()
    opened(folder, clock).close()


def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path, clock: Clock) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(PermissionError):
        opened(tmp_path, clock)
