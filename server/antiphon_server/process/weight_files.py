"""Checks of a checkpoint's weight files before they are loaded: shards, headers and index.

It reads only headers, so its time does not depend on the size of the weights.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from antiphon_server.exits import ExitCode, StartupError
from antiphon_server.process.checkpoint_kind import own_tensor_name

INDEX = "model.safetensors.index.json"
_REFETCH = "the download may be incomplete: fetch the file again"
_LFS = b"version https://git-lfs"
_LFS_HINT = "run 'git lfs install' and 'git lfs pull' in the folder, or download the files themselves"
_INDEX_BYTES = 64 << 20
_HEADER_BYTES = 100_000_000  # the limit of safetensors itself
_SHARD = re.compile(r"model-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors")
_SHARD_NAME = "model-{number:05}-of-{count:05}.safetensors"
# Small files of a checkpoint that may be Git LFS pointers too.
_SMALL_FILES = ("*.json", "*.jinja", "*.txt")


def check_weights(folder: Path, parts: Collection[str], required: Collection[str] = ()) -> frozenset[str]:
    """The names of all tensors. Raises `StartupError`.

    `parts`: prefixes of tensor names that must occur, such as `thinker`. `required`: names that must occur.
    """
    files = sorted(folder.glob("*.safetensors"))
    index = folder / INDEX
    indexed = _read_index(index) if index.exists() else None
    if indexed is not None:
        files = [folder / name for name in sorted(set(indexed.values()))]
        _check_presence(index, files)
    else:
        _check_numbers(folder, files)
    if not files:
        hint = "the download may be incomplete; other formats are not loaded"
        raise StartupError(ExitCode.NOT_A_CHECKPOINT, f"there are no *.safetensors weights in {folder}", hint)
    tensors = {file.name: _tensors_of(file) for file in files}
    if indexed is not None:
        _check_index(index, indexed, tensors)
    names = frozenset(own_tensor_name(name) for file in tensors.values() for name in file)
    _check_parts(folder, parts, [names])
    missing = [name for name in required if name not in names]
    if missing:
        problem = f"{len(missing)} tensors that config.json requires are missing, {missing[0]} first"
        raise _broken(folder, problem, _REFETCH)
    return names


def _check_numbers(folder: Path, files: Iterable[Path]) -> None:
    """Without an index, the names of the shards still show how many there are."""
    numbered = [found for file in files if (found := _SHARD.fullmatch(file.name))]
    there = {int(found["number"]) for found in numbered}
    count = max((int(found["count"]) for found in numbered), default=0)
    missing = [number for number in range(1, count + 1) if number not in there]
    if missing:
        first = _SHARD_NAME.format(number=missing[0], count=count)
        problem = f"{len(missing)} of its {count} shards are missing, {first} first"
        raise _broken(folder, problem, "the download may be incomplete: fetch them")


def _check_presence(index: Path, files: list[Path]) -> None:
    missing = [file.name for file in files if not file.exists() and not file.is_symlink()]
    if missing:
        problem = f"{len(missing)} of its {len(files)} files are missing, {missing[0]} first"
        raise _broken(index, problem, "the download may be incomplete: fetch them")


def _check_index(index: Path, indexed: Mapping[str, str], tensors: Mapping[str, frozenset[str]]) -> None:
    absent = next((name for name, file in sorted(indexed.items()) if name not in tensors[file]), None)
    if absent is not None:
        problem = f"the tensor {absent} is not in it, although {index.name} lists it"
        raise _broken(
            index.with_name(indexed[absent]), problem, "index and shards come from different downloads"
        )


def _check_parts(folder: Path, parts: Collection[str], tensors: Iterable[frozenset[str]]) -> None:
    there = {name.split(".", 1)[0] for names in tensors for name in names}
    missing = [part for part in parts if part not in there]
    if missing:
        problem = f"the weights hold no {missing[0]}.* tensors"
        hint = _REFETCH if missing[0] == "thinker" else "--no-engine.speech serves a model without a voice"
        raise _broken(folder, problem, hint)


def _read_index(index: Path) -> dict[str, str]:
    """File by tensor. Only plain file names: an index must not name files outside its folder."""
    try:
        if index.stat().st_size > _INDEX_BYTES:
            raise _broken(index, "it is too large for an index")
        read = json.loads(index.read_text(encoding="utf-8"))
        files = read["weight_map"]
        named = {str(tensor): file for tensor, file in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _broken(index, _reason(error) or "it is not an index of weights", _REFETCH) from None
    for file in named.values():
        if not isinstance(file, str) or Path(file).name != file or not file.endswith(".safetensors"):
            raise _broken(index, "it names files other than *.safetensors of its own folder")
    if not named:
        raise _broken(index, "it names no tensors", _REFETCH)
    return named


def _tensors_of(file: Path) -> frozenset[str]:
    """The names of a shard's tensors. safetensors checks header, offsets, shapes and file size."""
    try:
        if not file.stat().st_size:
            raise _broken(file, "the file is empty", _REFETCH)
        _refuse_pointer(file)
        with safe_open(file, framework="np") as shard:
            return frozenset(shard.keys())
    except (OSError, SafetensorError) as error:
        raise _broken(
            file, _reason(error) or _length_problem(file) or _header_problem(error), _REFETCH
        ) from None


def _length_problem(file: Path) -> str | None:
    """How the file's length contradicts its header; None if it does not."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(8)
        if len(start) < 8:
            return f"the file has {size} bytes, too few for a header"
        (header_bytes,) = struct.unpack("<Q", start)
        if header_bytes > _HEADER_BYTES:
            return "the file does not begin with a safetensors header"
        if 8 + header_bytes > size:
            return f"the file is cut off in its header, after {size} of {8 + header_bytes} bytes"
        try:
            header = json.loads(opened.read(header_bytes))
            ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
            expected = 8 + header_bytes + max(ends, default=0)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return None
    if expected > size:
        return f"the file is cut off: it has {size:,} of {expected:,} bytes"
    return f"the file has {size:,} bytes, its header describes {expected:,}" if expected < size else None


def _header_problem(error: Exception) -> str:
    return f"its header is wrong: {str(error).removeprefix('Error while deserializing header: ')}"


def _reason(error: Exception) -> str | None:
    """The operating system's error, if it is one."""
    match error:
        case PermissionError():
            return "permission denied: the server's user cannot read it"
        case FileNotFoundError():
            return "it is a link to a missing file"
        case IsADirectoryError():
            return "it is a folder, not a file"
        case OSError():
            return f"it cannot be read: {(error.strerror or 'input/output error').lower()}"
        case _:
            return None


def refuse_pointers(folder: Path) -> None:
    """Refuse small files (configuration, tokenizer) that are Git LFS pointers. Raises `StartupError`."""
    for pattern in _SMALL_FILES:
        for file in sorted(folder.glob(pattern)):
            _refuse_pointer(file)


def _refuse_pointer(file: Path) -> None:
    """A clone without Git LFS holds three lines of text instead of each large file."""
    try:
        with file.open("rb") as opened:
            begins = opened.read(len(_LFS))
    except OSError as error:
        raise _broken(file, _reason(error) or "it cannot be read") from None
    if begins == _LFS:
        raise _broken(file, "it is a Git LFS pointer, not the file itself", _LFS_HINT)


def _broken(file: Path, problem: str, hint: str | None = None) -> StartupError:
    return StartupError(ExitCode.NOT_A_CHECKPOINT, f"{file}: {problem}", hint)
