"""Engines and servers as forks of a process that has imported vLLM, which takes seconds of each start.

How a process begins changes nothing of what these tests are about. The servers of a model by its name and of
a compiled model, and one that fails to start, begin as always.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext, ForkServerContext, ForkServerProcess, reduction
from typing import Any
from unittest import mock

import setproctitle

IMPORTED = [
    "tests.no_collection",
    "antiphon_server.process.assembly",
    "antiphon_server.process.serve",
    "antiphon_executor.engine.omni_engine",
    "vllm.v1.engine.core",
    "antiphon_executor.stages.cpu_worker",
    "antiphon_executor.models.aria.talker",
    "antiphon_executor.models.qwen3_5_omni.thinker",
    "antiphon_executor.models.qwen3_omni.talker",
    "antiphon_executor.models.qwen3_omni.thinker",
]
# As in a server's engines: what vLLM and torch read while they are imported.
ENVIRONMENT = {
    "PYTHONWARNINGS": "ignore::FutureWarning",
    "TORCH_COMPILE_DISABLE": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "TRANSFORMERS_VERBOSITY": "error",
    "VLLM_LOGGING_LEVEL": "ERROR",
}
OUTPUTS = (1, 2)


class ForkedProcess(ForkServerProcess):
    """With environment, standard output and error of the process that starts it, as a spawned one."""

    environment: dict[str, str]
    outputs: tuple[Any, ...]

    def start(self) -> None:
        self.environment = dict(os.environ)
        super().start()

    def __getstate__(self) -> dict[str, Any]:
        """Called while it is sent to the process that forks."""
        return {**self.__dict__, "outputs": tuple(map(reduction.DupFd, OUTPUTS))}

    def run(self) -> None:
        # What has been imported stays, in memory that all forks share.
        gc.freeze()
        gc.enable()
        for own, theirs in zip(OUTPUTS, self.outputs, strict=True):
            descriptor = theirs.detach()
            os.dup2(descriptor, own)
            os.close(descriptor)
        # vLLM names its processes. The memory for a name is found by the environment that is there at first.
        setproctitle.getproctitle()
        os.environ.clear()
        os.environ.update(self.environment)
        super().run()


class WarmContext(ForkServerContext):
    Process = ForkedProcess  # type: ignore[assignment]


WARM = WarmContext()


@contextmanager
def forks_for_spawned() -> Iterator[None]:
    """Processes that are started in the block are forks. The process that is forked stays for later ones."""
    contexts = multiprocessing.get_context

    def instead(method: str | None = None) -> BaseContext:
        return WARM if method == "spawn" else contexts(method)

    with mock.patch.object(multiprocessing, "get_context", instead):
        yield


@contextmanager
def warm_start() -> Iterator[None]:
    """Engines that are started in the block are forks."""
    WARM.set_forkserver_preload(IMPORTED)
    with forks_for_spawned(), mock.patch.dict(os.environ, ENVIRONMENT):
        yield
