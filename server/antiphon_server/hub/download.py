"""Takes a model from the hub's local cache, and downloads what the cache lacks."""

from __future__ import annotations

import json
import logging as levels
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from antiphon_server.exits import ExitCode, StartupError
from antiphon_server.hub.errors import hub_error
from antiphon_server.hub.progress import DownloadProgress

_GB = 1_000_000_000
# Beyond the model itself: logs, sockets, and other programs on the same disk.
_SPARE_BYTES = 512 << 20
_PARTIAL = "*.incomplete"
# As a shell reports a command that SIGINT ended.
_INTERRUPTED = 130
_INDEX = "model.safetensors.index.json"
# Documentation, samples, sub-folders and other formats of the weights are left out.
CONFIG_FILES = ("config.json", "generation_config.json", "antiphon_card.json", _INDEX)
_SMALL_FILES = (
    *CONFIG_FILES,
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
    "chat_template.json",
    "chat_template.jinja",
    "tokenizer.json",
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "voices/*.json",
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One revision of a model in the local cache. `folder` has all small files.

    `missing`: weight files that are still to be downloaded, with their sizes.
    """

    name: str
    folder: Path
    missing: Mapping[str, int]

    @property
    def missing_bytes(self) -> int:
        return sum(self.missing.values())


def open_snapshot(name: str, revision: str | None, patterns: Sequence[str] = _SMALL_FILES) -> Snapshot:
    """Fetches the small files, and finds out which weights are missing. Raises `StartupError`.

    Asks the hub for the newest commit of the revision. If it is not reachable, the cached commit is taken.
    """
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    folder = _download(name, revision, patterns)
    try:
        tree = get_cached_repo_tree(name, revision=folder.name)
    except CachedRepoTreeNotFoundError:
        # Another program filled the cache. The checks of the folder will find what is missing.
        return Snapshot(name, folder, {})
    sizes = {file.path: file.size for file in tree}
    wanted = _indexed_files(folder) or {path for path in sizes if _is_weight(path)}
    missing = sorted(path for path in wanted & sizes.keys() if not (folder / path).exists())
    return Snapshot(name, folder, {path: sizes[path] for path in missing})


def complete(snapshot: Snapshot, progress: DownloadProgress) -> Path:
    """Downloads the missing weights and returns the folder. Raises `StartupError`.

    An interrupted download continues with the next call: complete files are kept.
    """
    check_space(snapshot)
    if snapshot.missing:
        blobs = snapshot.folder.parents[1] / "blobs"
        earlier = set(blobs.glob(_PARTIAL))
        try:
            with progress.watch(snapshot.name, blobs, snapshot.missing_bytes):
                _run_in_thread(
                    partial(_download, snapshot.name, snapshot.folder.name, tuple(snapshot.missing))
                )
        except KeyboardInterrupt:
            _end_at_once(set(blobs.glob(_PARTIAL)) - earlier)
    return snapshot.folder


def _run_in_thread(call: Callable[[], object]) -> None:
    """Runs `call`, and lets SIGINT end the wait: huggingface_hub would wait for its own threads first."""
    done: Future[object] = Future()

    def run() -> None:
        try:
            done.set_result(call())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    done.result()


def _end_at_once(incomplete: Iterable[Path]) -> NoReturn:
    """Ends the process without waiting for the threads. No later download would continue `incomplete`."""
    for file in incomplete:
        file.unlink(missing_ok=True)
    print("\nantiphon: the download was interrupted; complete files are kept", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(_INTERRUPTED)


def check_space(snapshot: Snapshot) -> None:
    """Raises `StartupError` if the missing weights do not fit on the cache's disk."""
    free = shutil.disk_usage(snapshot.folder).free
    if snapshot.missing and free < snapshot.missing_bytes + _SPARE_BYTES:
        raise StartupError(
            ExitCode.NO_SPACE,
            f"{snapshot.name} needs {snapshot.missing_bytes / _GB:.1f} GB more, and the disk of "
            f"{snapshot.folder.parents[2]} has {free / _GB:.1f} GB free",
            "free some space, or set HF_HUB_CACHE to a folder on another disk",
        )


def _download(name: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """The snapshot's folder. Raises `StartupError`."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    logging.set_verbosity(levels.ERROR)
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns)))
    # Its errors have no common base: they are OSErrors, ValueErrors and those of its HTTP client.
    except Exception as error:
        raise hub_error(name, revision, error) from error


def _indexed_files(folder: Path) -> set[str]:
    """The weight files that the index names; empty without a usable index."""
    try:
        named = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values()
        return {file for file in named if isinstance(file, str) and _is_weight(file)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()


def _is_weight(path: str) -> bool:
    return "/" not in path and path.endswith(".safetensors")
