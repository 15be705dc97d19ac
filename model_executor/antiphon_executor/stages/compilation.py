"""Whether the Thinker runs compiled on a CPU: only after `antiphon compile`, which fills vLLM's cache.

Compiling takes half a minute and a C++ compiler. A server that starts never waits for it; without a compiled
model in the cache it runs eagerly.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from importlib.metadata import version
from pathlib import Path

import torch
import vllm
from vllm import envs
from vllm.platforms import current_platform

from antiphon_executor.interface.settings import EngineSettings

_CONFIG = "config.json"
_COMPILERS = ("g++", "clang++", "c++")


def has_compiler() -> bool:
    """Whether torch finds a C++ compiler, which it also needs to load what it has compiled."""
    return any(shutil.which(name) for name in (os.environ.get("CXX"), *_COMPILERS) if name)


def mark_of(settings: EngineSettings) -> Path:
    """The file whose existence says that the Thinker of these settings has been compiled.

    It is in vLLM's cache, so that deleting the cache deletes it. Its name depends on what the compiled code
    depends on. `settings`: with the data type that the engine uses.
    """
    thinker = settings.thinker
    factors = (
        version("antiphon"),
        vllm.__version__,
        torch.__version__,
        torch.backends.cpu.get_cpu_capability(),
        str(settings.model.resolve()),
        (settings.model / _CONFIG).read_text(encoding="utf-8"),
        thinker.model_dump_json(),
        str(settings.speech),
    )
    name = hashlib.sha256("\n".join(factors).encode()).hexdigest()
    return Path(envs.VLLM_CACHE_ROOT) / "torch_compile_cache" / "antiphon" / name


def runs_compiled(settings: EngineSettings) -> bool:
    """Whether the Thinker of these settings runs compiled. On a GPU vLLM compiles while it loads."""
    if settings.thinker.enforce_eager:
        return False
    return not current_platform.is_cpu() or (has_compiler() and mark_of(settings).exists())


def could_be_compiled(settings: EngineSettings) -> bool:
    """Whether `antiphon compile` would work for a Thinker that runs eagerly now."""
    return not settings.thinker.enforce_eager and not runs_compiled(settings) and has_compiler()
