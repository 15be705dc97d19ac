"""A checkpoint with broken files: one line that names the file, and exit code 8, within seconds."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from antiphon_executor.shipped import ANTIPHON_NANO
from antiphon_server.exits import ExitCode, StartupError
from antiphon_server.process.weight_files import INDEX, check_weights, refuse_pointers
from tests.machine import slowness

pytestmark = pytest.mark.promise("R27")

PARTS = ("thinker", "talker", "code2wav")
NAMES = ("thinker.a", "talker.b", "code2wav.c")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 53669828\n"


def tensor(start: int, floats: int = 2, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": [floats], "data_offsets": [start, start + 8]}


def shard(header: object, data_bytes: int) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(data_bytes)


WHOLE = shard({name: tensor(8 * place) for place, name in enumerate(NAMES)}, 24)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three shards of a tensor each, and their index."""
    for name in NAMES:
        (tmp_path / f"{name[:4]}.safetensors").write_bytes(shard({name: tensor(0)}, 8))
    index = {"weight_map": {name: f"{name[:4]}.safetensors" for name in NAMES}}
    (tmp_path / INDEX).write_text(json.dumps(index), encoding="utf-8")
    return tmp_path


def problem_of(folder: Path) -> str:
    with pytest.raises(StartupError) as raised:
        check_weights(folder, PARTS)
    assert raised.value.code == ExitCode.NOT_A_CHECKPOINT
    return str(raised.value)


def test_complete_weights_pass_with_and_without_an_index(folder: Path, tmp_path: Path) -> None:
    check_weights(folder, PARTS)
    (folder / INDEX).unlink()
    check_weights(folder, PARTS)
    check_weights(ANTIPHON_NANO, PARTS)


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the file is empty"),
    "seven bytes": (WHOLE[:7], "7 bytes"),
    "cut in its header": (WHOLE[:60], "cut off in its header"),
    "cut in its data": (WHOLE[:-1], f"cut off: it has {len(WHOLE) - 1:,} of {len(WHOLE):,} bytes"),
    "too long": (WHOLE + b"x", "its header describes"),
    "no header at all": (b"PK\x03\x04" * 40, "does not begin with a safetensors header"),
    "Git LFS": (POINTER, "Git LFS pointer"),
    "shape": (shard({"thinker.a": tensor(0, floats=3)}, 8), "shape"),
    "type": (shard({"thinker.a": tensor(0, dtype="F33")}, 8), "F33"),
    "gap": (shard({"thinker.a": tensor(8)}, 16), "offset"),
    "no JSON": (struct.pack("<Q", 8) + b'{"a": 1,', "JSON"),
    "no object": (shard([1], 0), "header is wrong"),
    "no offsets": (shard({"thinker.a": {"dtype": "F32"}}, 0), "header is wrong"),
    "a page of a proxy": (b"<!DOCTYPE html><html><body>Sign in</body></html>", "does not begin with"),
}


@pytest.mark.parametrize(("data", "problem"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_named_with_its_problem(tmp_path: Path, data: bytes, problem: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(data)
    said = problem_of(tmp_path)
    assert f"{tmp_path / 'model.safetensors'}: " in said
    assert problem in said
    assert len(said.splitlines()) <= 2


def test_a_missing_shard_is_named_and_counted(folder: Path) -> None:
    (folder / "talk.safetensors").unlink()
    assert "1 of its 3 files are missing, talk.safetensors first" in problem_of(folder)


def test_a_tensor_that_only_the_index_lists_is_named(folder: Path) -> None:
    (folder / "talk.safetensors").write_bytes(shard({"talker.other": tensor(0)}, 8))
    said = problem_of(folder)
    assert "the tensor talker.b is not in it" in said
    assert "talk.safetensors" in said


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/passwd", "sub/x.safetensors", "x.bin", 7])
def test_an_index_may_only_name_weights_of_its_own_folder(folder: Path, name: object) -> None:
    (folder / INDEX).write_text(json.dumps({"weight_map": {"thinker.a": name}}), encoding="utf-8")
    assert "of its own folder" in problem_of(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', "\xff"])
def test_an_unreadable_index_is_named(folder: Path, text: str) -> None:
    (folder / INDEX).write_text(text, encoding="latin-1")
    assert INDEX in problem_of(folder)


@pytest.mark.parametrize("part", PARTS)
def test_weights_without_a_required_part_are_rejected(folder: Path, part: str) -> None:
    (folder / INDEX).unlink()
    (folder / f"{part[:4]}.safetensors").unlink()
    assert f"no {part}.* tensors" in problem_of(folder)


def test_a_broken_link_and_a_folder_are_rejected(folder: Path) -> None:
    weights = folder / "talk.safetensors"
    weights.unlink()
    weights.symlink_to(folder / "blobs")
    assert "link to a missing file" in problem_of(folder)
    weights.unlink()
    weights.mkdir()
    assert "a folder, not a file" in problem_of(folder)


def test_an_unreadable_file_is_rejected(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is simulated: root can read every file."""
    refuse: Callable[..., object] = Path.open

    def denied(self: Path, *args: object, **kwargs: object) -> object:
        if self.suffix == ".safetensors":
            raise PermissionError(13, "Permission denied", str(self))
        return refuse(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", denied)
    assert "permission denied" in problem_of(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja", "merges.txt"])
def test_a_git_lfs_pointer_instead_of_a_small_file_is_rejected(folder: Path, name: str) -> None:
    (folder / name).write_bytes(POINTER)
    with pytest.raises(StartupError, match=f"{name}: it is a Git LFS pointer") as raised:
        refuse_pointers(folder)
    assert "git lfs pull" in str(raised.value)


def test_serve_rejects_truncated_weights_within_seconds(tmp_path: Path) -> None:
    """It took 130 s, 301 lines and four tracebacks that ended in `See root cause above`."""
    broken = shutil.copytree(ANTIPHON_NANO, tmp_path / "broken")
    weights = broken / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    command = [sys.executable, "-m", "antiphon_server", "serve", str(broken), "--port", "9311"]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert time.monotonic() - began < 20 * slowness()
    assert done.returncode == ExitCode.NOT_A_CHECKPOINT
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"antiphon: {weights}: the file is cut off")
