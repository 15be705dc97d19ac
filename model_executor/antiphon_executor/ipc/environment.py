"""The environment of engine processes. Several settings of vLLM exist only as environment variables.

Variables that the operator has set are not changed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ENGINES = 2
_UNPINNED = "nobind"
_PRIVATE_FOLDER = "VLLM_RPC_BASE_PATH"
# oneDNN compiles operations per batch size: 16 for the vocoder and 16 for a code predictor in half precision.
# vLLM's, one per matrix and number of tokens in a step, take 270 kB each. oneDNN's default limit of 1,024
# would let an engine's memory grow for an hour.
_COMPILED_PER_STREAM = 32
_COMPILED = 256


def prepare_environment(
    sockets: Path, *, on_cpu: bool, streams: int, engines: int = 2, compiled: bool = False
) -> None:
    """Sets the variables; called once, before an engine starts.

    `sockets`: a private folder, also used for vLLM's unix sockets. `streams`: largest batch of the Talker.
    `compiled`: the Thinker loads a compiled model. On a CPU each of two engines gets half of the cores,
    without pinning: pinned to the same cores, the engines would wait for each other at every barrier. One
    engine alone gets all but one.
    """
    os.environ[_PRIVATE_FOLDER] = str(sockets)
    # The schedulers end the requests that vLLM then reports as corrupted.
    defaults = {"VLLM_NO_USAGE_STATS": "1", "VLLM_COMPUTE_NANS_IN_LOGITS": "1"}
    if on_cpu:
        threads = threads_of_a_stage() if engines > 1 else threads_alone()
        defaults |= {"VLLM_CPU_OMP_THREADS_BIND": _UNPINNED, "OMP_NUM_THREADS": str(threads)}
        # Eager vLLM still compiles a few small functions. The first request for log probabilities would
        # compile one for more than ten seconds and block all other requests. A compiled Thinker's worker
        # switches that off when its model is loaded.
        if not compiled:
            defaults["TORCH_COMPILE_DISABLE"] = "1"
        defaults["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = str(max(_COMPILED, _COMPILED_PER_STREAM * streams))
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def cores() -> int:
    return len(os.sched_getaffinity(0))


def threads_of_a_stage() -> int:
    """Threads of each engine while both run."""
    return max(1, cores() // ENGINES)


def threads_alone() -> int:
    """Threads of an engine that runs alone. One core is the server's.

    On two cores a second thread costs the tiny model a third of its tokens at 32 requests, half at one.
    """
    return max(threads_of_a_stage(), cores() - 1)


def may_change_threads() -> bool:
    """Whether the operator has left number and placement of threads to this package."""
    number, placement = os.environ.get("OMP_NUM_THREADS"), os.environ.get("VLLM_CPU_OMP_THREADS_BIND")
    return (number, placement) == (str(threads_of_a_stage()), _UNPINNED)


def keep_temporary_files_private() -> None:
    """Called in an engine's process: vLLM writes a temporary file at each start and never deletes it.

    In the private folder it is deleted with the server.
    """
    tempfile.tempdir = os.environ.get(_PRIVATE_FOLDER)


@contextmanager
def visible_devices(devices: str | None) -> Iterator[None]:
    """Engines started inside see only these GPUs; None: all. Must not run in two threads at once."""
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
