"""A worker's answer to a ping: its process, its oldest schema compilation, and the long prompts it reads."""

from __future__ import annotations

import os

from antiphon_executor.ipc.prefill_watch import PREFILL_WATCH
from antiphon_executor.scheduling.grammar_watch import GRAMMAR_WATCH

REPORT = "antiphon_report"
EXTENSION = "antiphon_executor.stages.worker_report.WorkerReport"


class WorkerReport:
    """Mixed into vLLM's worker as `worker_extension_cls`; called between two steps."""

    def antiphon_report(self) -> tuple[int, float, dict[str, tuple[int, int]]]:
        """The process id, seconds since its oldest running schema compilation began, and `long_prompts`.

        The scheduler is in the worker's process unless several GPUs share the layers; then there are none.
        """
        return os.getpid(), GRAMMAR_WATCH.oldest_s(), PREFILL_WATCH.long_prompts()
