"""What the engines' processes inherit: vLLM is told most of this by environment variables alone.

Whatever the operator has set stays as it is.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ENGINES = 2
_PRIVATE_FOLDER = "VLLM_RPC_BASE_PATH"
# oneDNN compiles an operation for each batch size: 16 a size for the vocoder, as many for a code predictor in
# half precision. vLLM's, one a matrix and a number of tokens in a step, take 270 kB each, and by itself
# oneDNN keeps 1,024 of them: for an hour an engine would grow.
_COMPILED_PER_STREAM = 32
_COMPILED = 256


def prepare_environment(sockets: Path, *, on_cpu: bool, streams: int) -> None:
    """Called once, before an engine starts. `sockets`: a private folder, for vLLM's own unix sockets too.

    `streams`: the largest batch of the Talker.

    On a CPU each engine gets its share of the cores and floats over them: pinned to the same cores, the two
    would wait for each other at every barrier.
    """
    os.environ[_PRIVATE_FOLDER] = str(sockets)
    # The schedulers end the requests that this reports (`corrupted_requests.py`).
    defaults = {"VLLM_NO_USAGE_STATS": "1", "VLLM_COMPUTE_NANS_IN_LOGITS": "1"}
    if on_cpu:
        share = max(1, len(os.sched_getaffinity(0)) // ENGINES)
        defaults |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(share)}
        # vLLM runs eagerly here, but for one small function that the first request for log probabilities
        # would compile: for ten seconds and more, in which nobody is served.
        defaults["TORCH_COMPILE_DISABLE"] = "1"
        defaults["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = str(max(_COMPILED, _COMPILED_PER_STREAM * streams))
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def keep_temporary_files_private() -> None:
    """In an engine's process: vLLM leaves a file of each start in the folder for temporary files.

    In the private one it goes with the server.
    """
    tempfile.tempdir = os.environ.get(_PRIVATE_FOLDER)


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
