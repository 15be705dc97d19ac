"""The folder of uploaded files at the start: the operator's must work, the default one may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon_server.config.settings import Settings
from antiphon_server.exits import ExitCode, StartupError
from antiphon_server.files.store import FileStore
from antiphon_server.process.assembly import start_files


def started(**settings: object) -> FileStore:
    chosen = Settings(**settings)  # type: ignore[arg-type]
    store = FileStore(chosen.files)
    start_files(store, chosen)
    return store


def test_the_default_folder_is_in_the_users_state_and_by_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    store = started(server={"port": 8123})
    assert (tmp_path / "antiphon" / "files-8123").is_dir()
    store.close()
    assert (tmp_path / "antiphon" / "files-8123").is_dir()


def test_a_folder_that_the_operator_names_has_to_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError) as refused:
        started(files={"folder": tmp_path / "file"})
    assert refused.value.code == ExitCode.BAD_CONFIG
    first = started(files={"folder": tmp_path / "files"})
    with pytest.raises(StartupError, match="another server uses the folder"):
        started(files={"folder": tmp_path / "files"})
    first.close()


def test_without_a_usable_default_folder_uploads_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "antiphon").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    store = started(server={"port": 8123})
    assert store._folder is None


def test_uploads_can_be_switched_off(tmp_path: Path) -> None:
    store = started(files={"folder": tmp_path / "files", "key_files": 0})
    assert not (tmp_path / "files").exists()
    assert store._folder is None
