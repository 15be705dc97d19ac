"""What an engine's worker answers to a ping: vLLM's `worker_extension_cls`, asked between two steps."""

from __future__ import annotations

import os

from antiphon_executor.scheduling.grammar_watch import GRAMMAR_WATCH

REPORT = "antiphon_report"
EXTENSION = "antiphon_executor.stages.worker_report.WorkerReport"


class WorkerReport:
    """Mixed into vLLM's worker."""

    def antiphon_report(self) -> tuple[int, float]:
        """The process, and for how long the oldest schema has been compiled in it."""
        return os.getpid(), GRAMMAR_WATCH.oldest_s()
