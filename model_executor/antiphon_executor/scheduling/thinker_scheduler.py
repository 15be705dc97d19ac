"""The Thinker's scheduler: vLLM's, which also ends requests that cannot continue.

These are requests with NaN logits, and requests whose schema does not finish compiling.
"""

from __future__ import annotations

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.request import Request

from antiphon_executor.scheduling.corrupted_requests import CorruptionAwareScheduler
from antiphon_executor.scheduling.grammar_watch import GRAMMAR_WATCH

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.v1.core.sched.scheduler.Scheduler": (
        "add_request(request)",
        "schedule(throttle_prefills)",
        "grammar_compile_error_reqs",
        "requests",
    ),
    "vllm.v1.request.Request": ("structured_output_request",),
    "vllm.v1.structured_output.request.StructuredOutputRequest": ("is_grammar_ready",),
}

# The server has compiled the schema before, within its own limit; this limit catches faults in the engine.
LONGEST_COMPILE_S = 15.0


class _SchemaTimeoutScheduler(CorruptionAwareScheduler):
    def add_request(self, request: Request) -> None:
        if request.structured_output_request is not None:
            GRAMMAR_WATCH.begin(request.request_id, request.structured_output_request)
        super().add_request(request)

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        # vLLM ends these requests with an error after the step, as it does when a compilation fails.
        self.grammar_compile_error_reqs |= GRAMMAR_WATCH.overdue(LONGEST_COMPILE_S) & self.requests.keys()
        return super().schedule(throttle_prefills)


class ThinkerScheduler(_SchemaTimeoutScheduler, Scheduler):
    """Schedules a step after the step before has ended."""


class AsyncThinkerScheduler(_SchemaTimeoutScheduler, AsyncScheduler):
    """Schedules the next step while one runs."""
