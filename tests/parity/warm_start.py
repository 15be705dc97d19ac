"""Engines of parity tests are forks of a process that has imported vLLM, which takes seconds of each start.

How a process begins changes nothing of what these tests are about. The servers of tests/e2e start as always.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext, ForkServerContext, ForkServerProcess
from unittest import mock

IMPORTED = [
    "vllm.v1.engine.core",
    "antiphon_executor.stages.cpu_worker",
    "antiphon_executor.models.aria.talker",
    "antiphon_executor.models.qwen3_5_omni.thinker",
    "antiphon_executor.models.qwen3_omni.talker",
    "antiphon_executor.models.qwen3_omni.thinker",
]
# As in a server's engines.
NOT_COMPILED = {"TORCH_COMPILE_DISABLE": "1"}


class ForkedEngine(ForkServerProcess):
    """With the environment of the process that starts it, as a spawned one."""

    environment: dict[str, str]

    def start(self) -> None:
        self.environment = dict(os.environ)
        super().start()

    def run(self) -> None:
        os.environ.clear()
        os.environ.update(self.environment)
        super().run()


class WarmContext(ForkServerContext):
    Process = ForkedEngine  # type: ignore[assignment]


WARM = WarmContext()


@contextmanager
def warm_start() -> Iterator[None]:
    """Engines that are started in the block are forks. The process that is forked stays for later ones."""
    contexts = multiprocessing.get_context

    def instead(method: str | None = None) -> BaseContext:
        return WARM if method == "spawn" else contexts(method)

    WARM.set_forkserver_preload(IMPORTED)
    with (
        mock.patch.object(multiprocessing, "get_context", instead),
        mock.patch.dict(os.environ, NOT_COMPILED),
    ):
        yield
