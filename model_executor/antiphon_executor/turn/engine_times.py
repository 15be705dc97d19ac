"""Copies vLLM's timestamps of a request into its trace. vLLM uses the monotonic clock too."""

from __future__ import annotations

from typing import Literal

from vllm.outputs import RequestOutput
from vllm.v1.metrics.stats import RequestStateStats

from antiphon_executor.interface.request import MarkSink

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.v1.metrics.stats.RequestStateStats": (
        "queued_ts",
        "scheduled_ts",
        "first_token_ts",
    ),
}


def mark_engine_times(
    on_mark: MarkSink | None, stage: Literal["thinker", "talker"], output: RequestOutput
) -> None:
    """Marks when the engine queued the request, first scheduled it, and finished its first step."""
    if on_mark is None or not isinstance(output.metrics, RequestStateStats):
        return
    times = output.metrics
    if stage == "thinker":
        on_mark("thinker_queued", times.queued_ts)
        on_mark("thinker_scheduled", times.scheduled_ts)
        on_mark("thinker_first_token", times.first_token_ts)
    else:
        on_mark("talker_queued", times.queued_ts)
        on_mark("talker_scheduled", times.scheduled_ts)
        on_mark("talker_first_step", times.first_token_ts)
