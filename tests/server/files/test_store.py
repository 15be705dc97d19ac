"""The store of uploaded files: owners, limits, lifetimes, restarts, and what others put into its folder."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon_server.errors import BadRequest, InsufficientStorage, NotFound, PayloadTooLarge, Unavailable
from antiphon_server.files.folder import FileFolder
from antiphon_server.files.policy import FilePolicy
from antiphon_server.files.record import FileRecord
from antiphon_server.files.store import FileStore
from antiphon_server.media.wav_header import wav_header

WAV = wav_header(16_000, 16_000) + bytes(32_000)
POLICY = FilePolicy(free_disk_bytes=0, lifetime_s=100)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "files"


@pytest.fixture
def store(folder: Path, clock: Clock) -> Iterator[FileStore]:
    store = FileStore(POLICY, clock)
    store.start(folder)
    yield store
    store.close()


def opened(folder: Path, clock: Clock, **limits: Any) -> FileStore:
    store = FileStore(POLICY.model_copy(update=limits), clock)
    store.start(folder)
    return store


async def put(
    store: FileStore,
    key: str = "key",
    data: bytes = WAV,
    name: str = "a.wav",
    lifetime_s: int | None = None,
    content_type: str = "",
) -> FileRecord:
    async with store.upload(key) as upload:
        for start in range(0, len(data), 10_000):
            await upload.write(data[start : start + 10_000])
        return await upload.complete(name, content_type, lifetime_s)


def read(store: FileStore, key: str, file_id: str) -> bytes:
    with store.find(key, file_id).open() as file:
        return file.read()


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


async def test_a_file_survives_a_restart_with_its_owner_and_lifetime(folder: Path, clock: Clock) -> None:
    store = opened(folder, clock)
    record = await put(store)
    store.close()
    again = opened(folder, clock)
    assert read(again, "key", record.id) == WAV
    assert again.of_key("key") == [record]
    assert again.usage.total_bytes == len(WAV)
    with pytest.raises(NotFound):
        again.find("other", record.id)
    clock.now_s += 100
    with pytest.raises(NotFound):
        again.find("key", record.id)
    again.close()


async def test_another_key_cannot_see_read_or_delete_a_file(store: FileStore) -> None:
    record = await put(store)
    assert store.of_key("other") == []
    with pytest.raises(NotFound):
        store.find("other", record.id)
    with pytest.raises(NotFound):
        await store.delete("other", record.id)
    assert read(store, "key", record.id) == WAV


async def test_the_folder_names_no_key_and_is_closed_to_others(store: FileStore, folder: Path) -> None:
    record = await put(store, key="secret-key", name="private\n\x1b[31m\u202e.wav")
    assert mode_of(folder) == 0o700
    for name in names(folder):
        assert mode_of(folder / name) == 0o600
        assert b"secret-key" not in (folder / name).read_bytes()
    assert record.filename == "private__[31m_.wav"
    assert names(folder) == {f"{record.id}.data", f"{record.id}.json"}


@pytest.mark.parametrize(
    "file_id",
    ["../../etc/passwd", "file-", "file-..", "", ".", "file-" + "0" * 32, "file-" + "a" * 31 + "\n", "\x00"],
)
async def test_forged_ids_are_unknown(store: FileStore, file_id: str) -> None:
    await put(store)
    with pytest.raises(NotFound):
        store.find("key", file_id)
    with pytest.raises(NotFound):
        await store.delete("key", file_id)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("/etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("..", "file"),
        ("", "file"),
        ("a\r\nb\x00c\ud800.wav", "a__b_c_.wav"),
        ("n" * 400, "n" * 255),
    ],
)
async def test_a_name_is_shown_without_folders_and_control_characters(
    store: FileStore, given: str, shown: str
) -> None:
    assert (await put(store, name=given)).filename == shown


async def test_an_expired_file_is_deleted_for_good(store: FileStore, folder: Path, clock: Clock) -> None:
    await put(store, lifetime_s=10)
    long = await put(store, lifetime_s=10**9)
    assert long.expires_at == clock.now_s + POLICY.lifetime_s
    clock.now_s += 10
    assert store.of_key("key") == [long]
    await store.delete_expired()
    assert names(folder) == {f"{long.id}.data", f"{long.id}.json"}
    assert (store.usage.files, store.usage.total_bytes) == (1, len(WAV))


async def test_a_deleted_file_is_gone_but_a_request_that_reads_it_can_finish(
    store: FileStore, folder: Path
) -> None:
    record = await put(store)
    found = store.find("key", record.id)
    with found.open() as file:
        start = file.read(100)
        await store.delete("key", record.id)
        assert start + file.read() == WAV
    assert names(folder) == set()
    assert store.usage.total_bytes == 0
    with pytest.raises(NotFound):
        found.open()
    with pytest.raises(NotFound):
        await store.delete("key", record.id)


async def test_files_can_be_deleted_and_read_at_once(store: FileStore) -> None:
    async def read_until_gone(file_id: str) -> int:
        for rounds in range(10_000):
            try:
                data = await asyncio.to_thread(read, store, "key", file_id)
            except NotFound:
                return rounds
            assert data == WAV
        raise AssertionError("it was never deleted")

    for _ in range(10):
        record = await put(store)
        readers = [asyncio.create_task(read_until_gone(record.id)) for _ in range(4)]
        await asyncio.sleep(0.005)
        await store.delete("key", record.id)
        await asyncio.gather(*readers)


async def test_limits_of_a_file_a_key_and_the_server(folder: Path, clock: Clock) -> None:
    size = len(WAV)
    store = opened(
        folder, clock, file_bytes=size, key_bytes=2 * size, key_files=3, total_bytes=3 * size, total_files=4
    )
    with pytest.raises(PayloadTooLarge, match="file-bytes"):
        await put(store, data=WAV + b"x")
    await put(store)
    kept = await put(store)
    with pytest.raises(BadRequest, match="key-bytes"):
        await put(store)
    await put(store, "second")
    with pytest.raises(InsufficientStorage, match="total-bytes"):
        await put(store, "second")
    await store.delete("key", kept.id)
    short = WAV[:1_200]
    await put(store, data=short)
    await put(store, data=short)
    with pytest.raises(BadRequest, match="key-files"):
        await put(store, data=short)
    with pytest.raises(InsufficientStorage, match="total-files"):
        await put(store, "third", data=short)
    assert len(names(folder)) == 2 * store.usage.files == 8
    store.close()


async def test_uploads_that_still_arrive_count(folder: Path, clock: Clock) -> None:
    store = opened(folder, clock, key_bytes=len(WAV) + 10_000, key_files=2)
    async with store.upload("key") as upload:
        await upload.write(WAV)
        with pytest.raises(BadRequest, match="key-bytes"):
            await put(store)
    assert (store.usage.files, store.usage.total_bytes) == (0, 0)
    await put(store)
    store.close()


@pytest.mark.parametrize("size", [20_000, 3 << 20])
async def test_an_aborted_upload_leaves_nothing(store: FileStore, folder: Path, size: int) -> None:
    started = asyncio.Event()

    async def upload_slowly() -> None:
        async with store.upload("key") as upload:
            await upload.write(WAV)
            await upload.write(bytes(size))
            started.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(upload_slowly())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert names(folder) == set()
    assert (store.usage.files, store.usage.total_bytes) == (0, 0)


async def test_a_cancelled_upload_waits_for_its_write(
    store: FileStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, leave = threading.Event(), threading.Event()
    create = FileFolder.create

    def create_late(self: FileFolder, file_id: str) -> Any:
        entered.set()
        assert leave.wait(60)
        return create(self, file_id)

    monkeypatch.setattr(FileFolder, "create", create_late)
    task = asyncio.create_task(put(store, data=WAV + bytes(1 << 20)))
    assert await asyncio.to_thread(entered.wait, 10)
    task.cancel()
    await asyncio.sleep(0.01)
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert names(folder) == set()


async def test_a_full_disk_is_507_and_leaves_nothing(
    store: FileStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FileFolder, "complete", fail)
    with pytest.raises(InsufficientStorage) as refused:
        await put(store)
    assert refused.value.code == "disk_full"
    assert names(folder) == set()
    assert store.usage.files == 0


async def test_uploads_keep_the_reserve_of_the_disk_free(folder: Path, clock: Clock) -> None:
    store = opened(folder, clock, free_disk_bytes=1 << 60)
    with pytest.raises(InsufficientStorage) as refused:
        await put(store)
    assert refused.value.code == "disk_full"
    store.close()


async def test_a_disk_that_fails_is_503(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "secret path")

    monkeypatch.setattr(FileFolder, "create", fail)
    with pytest.raises(Unavailable) as refused:
        await put(store)
    assert "secret" not in refused.value.message


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"plain text", "media_format_unsupported"),
        (bytes(5_000), "media_format_unsupported"),
    ],
)
async def test_what_is_no_media_is_refused(store: FileStore, folder: Path, data: bytes, code: str) -> None:
    with pytest.raises(BadRequest) as refused:
        await put(store, data=data)
    assert refused.value.code == code
    assert names(folder) == set()


async def test_the_kind_is_by_the_bytes_and_the_clients_word_where_both_are_possible(
    store: FileStore,
) -> None:
    mp4 = b"\0\0\0\x20ftypisom" + bytes(2_000)
    png = b"\x89PNG\r\n\x1a\n" + bytes(2_000)
    assert (await put(store, name="x.mp4")).kind == "audio"
    assert (await put(store, data=png, name="x.wav")).kind == "image"
    assert (await put(store, data=mp4, name="x.mp4")).kind == "video"
    assert (await put(store, data=mp4, name="x.m4a")).kind == "audio"
    assert (await put(store, data=mp4, name="x", content_type="audio/mp4")).kind == "audio"


async def test_without_a_folder_uploads_are_refused() -> None:
    store = FileStore(POLICY)
    with pytest.raises(Unavailable):
        await put(store)


async def test_a_folder_for_one_run_is_removed_at_its_end() -> None:
    store = FileStore(POLICY)
    store.start(None)
    await put(store)
    temporary = store._temporary
    assert temporary is not None
    assert len(names(Path(temporary.name))) == 2
    store.close()
    with pytest.raises(FileNotFoundError):
        names(Path(temporary.name))
