"""What the engines' processes inherit: vLLM is told most of this by environment variables alone.

Whatever the operator has set stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ENGINES = 2


def prepare_environment(sockets: Path, *, on_cpu: bool) -> None:
    """Called once, before an engine starts. `sockets`: a private folder, for vLLM's own unix sockets too.

    On a CPU each engine gets its share of the cores and floats over them: pinned to the same cores, the two
    would wait for each other at every barrier.
    """
    os.environ["VLLM_RPC_BASE_PATH"] = str(sockets)
    defaults = {"VLLM_NO_USAGE_STATS": "1"}
    if on_cpu:
        share = max(1, len(os.sched_getaffinity(0)) // ENGINES)
        defaults |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(share)}
        # vLLM runs eagerly here, but for one small function that the first request for log probabilities
        # would compile: for ten seconds and more, in which nobody is served.
        defaults["TORCH_COMPILE_DISABLE"] = "1"
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


@contextmanager
def visible_devices(devices: str | None) -> Iterator[None]:
    """Engines started inside see these GPUs alone; None leaves all visible. Not for two threads at once."""
    if devices is None:
        yield
        return
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = devices
    try:
        yield
    finally:
        if before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before
