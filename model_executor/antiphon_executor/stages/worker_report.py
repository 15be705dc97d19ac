"""A worker's answer to a ping: its process and its oldest schema compilation."""

from __future__ import annotations

import os

from antiphon_executor.scheduling.grammar_watch import GRAMMAR_WATCH

REPORT = "antiphon_report"
EXTENSION = "antiphon_executor.stages.worker_report.WorkerReport"


class WorkerReport:
    """Mixed into vLLM's worker as `worker_extension_cls`; called between two steps."""

    def antiphon_report(self) -> tuple[int, float]:
        """The process id, and seconds since its oldest running schema compilation began."""
        return os.getpid(), GRAMMAR_WATCH.oldest_s()
