"""The Talker's streams one after the other: a plan for all streams, carried out in steps of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from antiphon_executor.scheduling.deadline import ALL_TOKENS, PlanStep
from antiphon_executor.scheduling.step_model import StepTimes
from antiphon_executor.scheduling.step_plan import PacingRules, StepPlan, StreamStatus


@dataclass(frozen=True, slots=True)
class TurnTimes(StepTimes):
    """Step times if `batch` streams take `batch` steps."""

    @property
    def largest_known(self) -> int:
        return ALL_TOKENS if self.sizes else 0

    def curve(self, batch: int) -> list[float]:
        each_s = StepTimes.curve(self, 1)[1]
        return [streams * each_s for streams in range(batch + 1)]


def one_stream(plan_next: PlanStep) -> PlanStep:
    """Plans the stream of `plan_next` that has waited longest, with all tokens that are due for it."""

    def plan(now_s: float, streams: Sequence[StreamStatus], times: StepTimes, rules: PacingRules) -> StepPlan:
        planned = plan_next(now_s, streams, times, rules)
        last_s = {one.key: one.last_step_s for one in streams}
        run = sorted(planned.run, key=last_s.__getitem__)
        return replace(planned, run=tuple(run[:1]), prompt_tokens=ALL_TOKENS)

    return plan
