"""What vLLM notes of a request's way through an engine, as milestones of its turn.

In: a `RequestOutput`. Out: calls of the turn's `Note`, if it has one. vLLM's clock is the monotonic one too.
"""

from __future__ import annotations

from typing import Literal

from vllm import RequestOutput
from vllm.v1.metrics.stats import RequestStateStats

from antiphon_executor.interface.request import Note


def note_engine_times(note: Note | None, stage: Literal["thinker", "talker"], output: RequestOutput) -> None:
    """When the request was queued, first scheduled, and its first step was done; once is enough."""
    if note is None or not isinstance(output.metrics, RequestStateStats):
        return
    times = output.metrics
    if stage == "thinker":
        note("thinker_queued", times.queued_ts)
        note("thinker_scheduled", times.scheduled_ts)
        note("thinker_first_token", times.first_token_ts)
    else:
        note("talker_queued", times.queued_ts)
        note("talker_scheduled", times.scheduled_ts)
        note("talker_first_step", times.first_token_ts)
