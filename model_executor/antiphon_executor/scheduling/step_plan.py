"""What the pacing policy reads and decides: the limits, the state of each stream, the plan of one step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PacingRules:
    """The limits of the pacing policy; seconds, except `headroom`.

    A stream with more than `pause_above_s` of buffered audio pauses until it has `resume_below_s` left.
    `margin_s`: slack that every plan leaves to the stream with the least buffered audio. `headroom`: share of
    real time that must stay free when a new live stream is admitted. Batch requests run while every live
    stream has at least `batch_above_s` buffered. `batch_overdue_s` after its last step, a batch request holds
    back new live streams and runs whenever there is slack.
    """

    pause_above_s: float = 8.0
    resume_below_s: float = 4.0
    margin_s: float = 0.004
    headroom: float = 0.1
    batch_above_s: float = 0.5
    batch_overdue_s: float = 1.0


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One stream at the time of the plan.

    `live`: its client plays while it is generated; False for a batch request. `started`: its first frame
    exists. `buffered_s`: audio that the client still has to play. `prompt_tokens`: tokens to compute before
    the next frame, beyond the one of every step. `ready`: the input of its next step is complete. `paused`:
    the last plan paused it. `admitted`: it has run before. `arrived_s`, `last_step_s`: on the same monotonic
    clock as the plan.
    """

    key: str
    live: bool
    started: bool
    buffered_s: float
    prompt_tokens: int
    ready: bool
    paused: bool
    admitted: bool
    arrived_s: float
    last_step_s: float


@dataclass(frozen=True, slots=True)
class StepPlan:
    """`run`: the streams of the step, most urgent first. `prompt_tokens`: limit on prompt tokens in the step.

    `paused`: streams that are paused. `replan_in_s`: the plan is valid for at most this long.
    """

    run: tuple[str, ...]
    prompt_tokens: int
    paused: frozenset[str]
    replan_in_s: float
