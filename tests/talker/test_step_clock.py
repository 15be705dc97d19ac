"""Step lengths, for steps in sequence and for overlapping ones."""

from __future__ import annotations

from antiphon_executor.scheduling.step_time.step_clock import StepClock, StepLength


def test_a_step_lasts_from_its_schedule_to_its_results() -> None:
    clock, step = StepClock(), object()
    clock.step_scheduled(step, 10.0, streams=3, tokens=40)
    assert clock.step_finished(step, 10.5) == StepLength(3, 37, 0.5)


def test_a_step_scheduled_while_the_last_runs_begins_when_that_ends() -> None:
    clock, first, second = StepClock(), object(), object()
    clock.step_scheduled(first, 0.0, streams=1, tokens=1)
    clock.step_scheduled(second, 0.1, streams=2, tokens=2)
    assert clock.step_finished(first, 1.0) == StepLength(1, 0, 1.0)
    assert clock.step_finished(second, 1.25) == StepLength(2, 0, 0.25)


def test_a_step_that_computes_nothing_has_no_length() -> None:
    clock, step = StepClock(), object()
    clock.step_scheduled(step, 0.0, streams=1, tokens=1)
    assert clock.step_finished(object(), 0.5) is None
    assert clock.step_finished(step, 1.0) is not None
