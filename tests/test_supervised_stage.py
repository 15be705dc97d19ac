"""A stage whose engine dies, hangs, fails to start, comes back, or is given up."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from antiphon_executor.interface.errors import EngineDead
from antiphon_executor.stages.restart_policy import RestartPolicy
from antiphon_executor.stages.supervisor import SupervisedStage, WatchRules
from tests.simulated_time import on_simulated_time


class ScriptedEngine:
    """Dies or hangs on command."""

    def __init__(self) -> None:
        self.alive = True
        self.ended = False
        self.hangs = False
        self.goes_on = asyncio.Event()
        self.computes = False
        self.compiling_s = 0.0

    async def ping(self) -> None:
        if self.hangs:
            await self.goes_on.wait()

    def used_cpu_s(self) -> float:
        return time.monotonic() if self.computes else 0.0

    async def end(self) -> None:
        self.alive = False
        self.ended = True


class Workshop:
    """Starts engines, and remembers them; `broken` of the next starts fail."""

    def __init__(self, broken: int = 0) -> None:
        self.engines = [ScriptedEngine()]
        self.broken = broken
        self.deaths: list[EngineDead] = []

    async def start(self) -> ScriptedEngine:
        if self.broken:
            self.broken -= 1
            raise RuntimeError("no memory left")
        self.engines.append(ScriptedEngine())
        return self.engines[-1]


@asynccontextmanager
async def kept_alive(
    workshop: Workshop, most: int = 3, hang_s: float = 0.2
) -> AsyncIterator[SupervisedStage[ScriptedEngine]]:
    policy = RestartPolicy(max_restarts=most, first_s=0.01, longest_s=0.05)
    watch = WatchRules(policy, hang_s, stuck_s=0.3, ping_every_s=0.02)
    stage = SupervisedStage("talker", workshop.engines[0], workshop.start, watch, workshop.deaths.append)
    task = asyncio.create_task(stage.supervise())
    try:
        yield stage
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await stage.close()


async def becomes(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nothing here tells
            await asyncio.sleep(0.01)


@on_simulated_time
async def test_a_dead_engine_is_ended_and_another_takes_its_place() -> None:
    workshop = Workshop()
    async with kept_alive(workshop) as stage:
        workshop.engines[0].alive = False
        await becomes(lambda: stage.restarts == 1 and stage.alive)
        assert stage.engine is workshop.engines[1]
        assert workshop.engines[0].ended
        assert [death.stage for death in workshop.deaths] == ["talker"]


@pytest.mark.promise("R24")
@on_simulated_time
async def test_an_engine_that_answers_no_ping_counts_as_dead() -> None:
    """A process that is stopped, or stuck in a step, holds its streams no longer than `hang_s`."""
    workshop = Workshop()
    async with kept_alive(workshop) as stage:
        workshop.engines[0].hangs = True
        await becomes(lambda: stage.restarts == 1 and stage.alive)
        assert workshop.engines[0].ended


@pytest.mark.promise("R49")
@on_simulated_time
async def test_an_engine_that_does_not_answer_is_stuck_long_before_it_is_ended_and_then_as_before() -> None:
    """Work that arrives meanwhile would wait for the watchdog."""
    workshop = Workshop()
    async with kept_alive(workshop, hang_s=60) as stage:
        engine = workshop.engines[0]
        assert stage.stuck is None
        engine.hangs = True
        await becomes(lambda: stage.stuck == "the talker engine does not answer")
        assert stage.alive
        engine.hangs = False
        engine.goes_on.set()
        await becomes(lambda: stage.stuck is None)
        assert stage.restarts == 0


@on_simulated_time
async def test_a_long_step_that_computes_is_not_stuck_until_it_stops_to_compute() -> None:
    """A prompt's chunk takes seconds on a slow CPU, and pings are answered between two steps."""
    workshop = Workshop()
    async with kept_alive(workshop, hang_s=60) as stage:
        engine = workshop.engines[0]
        engine.computes = engine.hangs = True
        for _ in range(100):
            await asyncio.sleep(0.01)
            assert stage.stuck is None
        engine.computes = False
        await becomes(lambda: stage.stuck is not None)


@on_simulated_time
async def test_a_step_that_computes_without_end_is_ended_by_the_watchdog() -> None:
    workshop = Workshop()
    async with kept_alive(workshop) as stage:
        workshop.engines[0].computes = workshop.engines[0].hangs = True
        await becomes(lambda: stage.restarts == 1 and stage.alive)


@on_simulated_time
async def test_an_engine_that_compiles_a_schema_without_end_is_stuck() -> None:
    """It answers its pings, and every request with a schema waits behind that one."""
    workshop = Workshop()
    async with kept_alive(workshop) as stage:
        workshop.engines[0].compiling_s = 4.0
        assert "compiling a JSON schema" in (stage.stuck or "")
        workshop.engines[0].compiling_s = 0.1
        assert stage.stuck is None


@pytest.mark.parametrize("hangs", [False, True])
@on_simulated_time
async def test_no_reference_to_a_dead_engine_remains_while_the_next_one_runs(hangs: bool) -> None:
    """It would keep its sockets and threads until the death after this one."""
    workshop = Workshop()
    async with kept_alive(workshop) as stage:
        engine, dead = workshop.engines.pop(), weakref.ref(stage.engine)
        engine.hangs, engine.alive = hangs, hangs
        del engine
        await becomes(lambda: stage.restarts == 1 and stage.alive)
        await becomes(lambda: dead() is None)


@on_simulated_time
async def test_without_an_engine_requests_fail_with_a_retry_time() -> None:
    workshop = Workshop(broken=1)
    async with kept_alive(workshop) as stage:
        workshop.engines[0].alive = False
        with pytest.raises(EngineDead) as raised:
            _ = stage.engine
        assert raised.value.retry_after_s is not None
        assert "restarted" in str(raised.value)


@on_simulated_time
async def test_a_start_that_fails_is_tried_again() -> None:
    workshop = Workshop(broken=2)
    async with kept_alive(workshop) as stage:
        workshop.engines[0].alive = False
        await becomes(lambda: stage.alive)
        assert stage.restarts == 3


@on_simulated_time
async def test_an_engine_that_keeps_dying_is_given_up_before_its_last_requests_fail() -> None:
    workshop = Workshop(broken=100)
    async with kept_alive(workshop, most=2) as stage:
        workshop.engines[0].alive = False
        await becomes(lambda: stage.given_up)
        assert stage.restarts == 2
        assert workshop.deaths[0].retry_after_s is not None
        await becomes(lambda: workshop.deaths[-1].retry_after_s is None)


@on_simulated_time
async def test_without_restarts_the_first_death_is_the_last() -> None:
    workshop = Workshop()
    async with kept_alive(workshop, most=0) as stage:
        workshop.engines[0].alive = False
        await becomes(lambda: stage.given_up)
        assert stage.restarts == 0
        assert workshop.engines[0].ended


def test_each_restart_within_the_window_waits_twice_as_long() -> None:
    policy = RestartPolicy(max_restarts=4, window_s=100, first_s=1, longest_s=3)
    assert [policy.delay_s(range(1, n + 1), n) for n in (1, 2, 3, 4)] == [1, 2, 3, 3]
    assert policy.delay_s([1, 2, 3, 4, 5], 5) is None


def test_deaths_before_the_window_do_not_count() -> None:
    policy = RestartPolicy(max_restarts=1, window_s=100, first_s=1)
    assert policy.delay_s([0, 50], 50) is None
    assert policy.delay_s([0, 150], 150) == 1


@pytest.mark.parametrize("faulty", ["end", "on_death"])
@on_simulated_time
async def test_a_dead_engine_whose_end_raises_is_still_replaced(faulty: str) -> None:
    """Once the supervisor died of it, and the stage stayed dead for good."""
    workshop = Workshop()

    async def refuse() -> None:
        raise RuntimeError("the process is gone")

    def fail(death: EngineDead) -> None:
        raise RuntimeError("a request could not be ended")

    async with kept_alive(workshop) as stage:
        if faulty == "end":
            workshop.engines[0].end = refuse  # type: ignore[method-assign]
        else:
            stage._on_death = fail
        workshop.engines[0].alive = False
        await becomes(lambda: stage.restarts == 1 and stage.alive)
        assert workshop.engines[0].ended == (faulty == "on_death")
