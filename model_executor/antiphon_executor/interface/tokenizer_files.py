"""Where a checkpoint's `tokenizer.json` lies: in its folder, or built once from its vocabulary and merges.

A built one is cached outside the folder, which may be read-only, under a name that follows from the content.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

FILE = "tokenizer.json"
_FOLDER = "tokenizers"
# All that the folder follows from: vLLM reads the model's type beside the tokenizer.
_SOURCES = (
    "config.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
)
_NEEDED = ("vocab.json", "merges.txt")
_BUILDER = "antiphon_executor.checkpoint.tokenizer_build"
_BUILD_S = 300.0


class TokenizerError(OSError):
    """The tokenizer cannot be built, or there is no folder to keep it in."""


def tokenizer_file(model: Path) -> Path:
    """See `tokenizer_folder`."""
    return tokenizer_folder(model) / FILE


def tokenizer_folder(model: Path) -> Path:
    """A folder with the checkpoint's `tokenizer.json` and `tokenizer_config.json`.

    Takes some seconds in a process of its own if it must be built. Raises TokenizerError. `model` itself, if
    it has neither a `tokenizer.json` nor the files to build one from.
    """
    if (model / FILE).is_file() or not all((model / source).is_file() for source in _NEEDED):
        return model
    name = _name(model)
    roots = tuple(_cache_roots())
    built = (root / _FOLDER / name for root in roots if _is_own(root))
    return next((folder for folder in built if (folder / FILE).is_file()), None) or _build(model, name, roots)


def _name(model: Path) -> str:
    digest = hashlib.sha256(metadata.version("transformers").encode())
    for source in _SOURCES:
        if (model / source).is_file():
            content = (model / source).read_bytes()
            digest.update(f"\0{source}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:32]


def _cache_roots() -> Iterator[Path]:
    """The user's cache folder, then one in the temporary folder; either may not exist yet."""
    home = os.environ.get("XDG_CACHE_HOME")
    with contextlib.suppress(RuntimeError):
        yield (Path(home) if home else Path.home() / ".cache") / "antiphon"
    yield Path(tempfile.gettempdir()) / f"antiphon-cache-{os.getuid()}"


def _is_own(folder: Path) -> bool:
    """Whether only this user can write to it: the temporary folder is open to all."""
    with contextlib.suppress(OSError):
        found = folder.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return False


def _build(model: Path, name: str, roots: Sequence[Path]) -> Path:
    """Builds it in a new folder, which is renamed when it is complete: processes may race."""
    for root in roots:
        folder = root / _FOLDER
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_own(root):
                continue
            folder.mkdir(exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder))
        except OSError:
            continue
        try:
            _run_builder(model, staging)
            # Fails if another process was faster; then its folder has the same content.
            with contextlib.suppress(OSError):
                staging.rename(folder / name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        if (folder / name / FILE).is_file():
            return folder / name
    folders = ", ".join(map(str, roots))
    raise TokenizerError(f"no folder can hold the tokenizer that is built from vocab.json: {folders}")


def _run_builder(model: Path, folder: Path) -> None:
    command = (sys.executable, "-I", "-m", _BUILDER, str(model.resolve()), str(folder))
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_BUILD_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise TokenizerError(f"{model}: building {FILE} took more than {_BUILD_S:.0f} s") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise TokenizerError(f"{model}: no {FILE} can be built from vocab.json and merges.txt: {reason}")
