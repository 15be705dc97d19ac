"""Supervises one engine: pings it, ends it if it hangs, and restarts it if it is dead.

`on_death` is called first, so that running requests end; the supervisor itself knows no requests.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from antiphon_executor.interface.errors import EngineDead
from antiphon_executor.stages.restart_policy import RestartPolicy

WATCH_S = 0.1
_COMPUTES = 0.1  # CPU seconds per second above which an engine is computing; it may share its cores
STARTING_S = 30.0  # `Retry-After` for requests that arrive while an engine loads

_log = logging.getLogger("antiphon.engine")


class Endable(Protocol):
    """An object with processes of its own."""

    async def end(self) -> None:
        """Ends the engine's processes, in any state."""
        ...


class Engine(Endable, Protocol):
    """What the supervisor uses of a `stage.Stage`."""

    @property
    def alive(self) -> bool: ...

    async def ping(self) -> None:
        """Returns when the engine has answered, which it does between two steps."""
        ...

    def used_cpu_s(self) -> float:
        """CPU seconds of the engine's processes if a step may take long; otherwise a constant."""
        ...

    @property
    def compiling_s(self) -> float:
        """Seconds that the engine has spent on its oldest schema compilation, as of the last ping."""
        ...


E = TypeVar("E", bound=Engine)


@dataclass(frozen=True, slots=True)
class WatchRules:
    """When an engine counts as dead or stuck, and how it is restarted.

    `hang_s`: seconds without an answer to a ping after which it counts as dead. `stuck_s`: seconds without
    an answer and without computing after which it counts as stuck. `ping_every_s`: pause between pings.
    """

    policy: RestartPolicy
    hang_s: float
    stuck_s: float
    ping_every_s: float = 1.0


class UnansweredPing:
    """Measures how long a ping has gone unanswered without the engine computing.

    An engine in a long step on a slow CPU answers no ping, and nothing is wrong. Time in which this process
    did not run does not count either: the answer may have been there.
    """

    def __init__(self, cpu_s: float) -> None:
        self.lasted_s = 0.0
        self._looked_at = self._began_at = time.monotonic()
        self._cpu_s = cpu_s

    def update(self, engine: Engine) -> None:
        """Called every `WATCH_S`."""
        now, cpu_s = time.monotonic(), engine.used_cpu_s()
        self.lasted_s += min(now - self._looked_at, 2 * WATCH_S)
        self._looked_at = now
        if cpu_s - self._cpu_s > _COMPUTES * (now - self._began_at):
            self.lasted_s, self._began_at, self._cpu_s = 0.0, now, cpu_s


async def end_all(engines: Iterable[Endable]) -> None:
    """Ends all engines. An error of one is logged and does not affect the others."""
    ends = await asyncio.gather(*(engine.end() for engine in engines), return_exceptions=True)
    for error in ends:
        if isinstance(error, Exception):
            _log.error("an engine did not end cleanly", exc_info=error)


class SupervisedStage(Generic[E]):
    """One engine, across its restarts. The owner runs `supervise` as a task."""

    def __init__(
        self,
        name: str,
        engine: E,
        start: Callable[[], Awaitable[E]],
        rules: WatchRules,
        on_death: Callable[[EngineDead], None],
    ) -> None:
        self.name = name
        self.restarts = 0
        self.given_up = False
        self._engine: E | None = engine
        self._start = start
        self._rules = rules
        self._on_death = on_death
        self._deaths: list[float] = []
        self._unanswered: UnansweredPing | None = None
        self._was_stuck: str | None = None

    @property
    def engine(self) -> E:
        """The running engine. Raises `EngineDead` if none is running."""
        if self._engine is None or not self._engine.alive:
            raise self.death
        return self._engine

    @property
    def alive(self) -> bool:
        return self._engine is not None and self._engine.alive

    @property
    def death(self) -> EngineDead:
        return EngineDead(self.name, None if self.given_up else STARTING_S)

    @property
    def stuck(self) -> str | None:
        """Why the engine does no work although it is alive; None if it works or is dead."""
        if not self.alive or self._engine is None:
            return None
        if self._unanswered is not None and self._unanswered.lasted_s > self._rules.stuck_s:
            return f"the {self.name} engine does not answer"
        if self._engine.compiling_s > self._rules.stuck_s:
            return f"the {self.name} engine has been compiling a JSON schema for too long"
        return None

    async def supervise(self) -> None:
        """Returns when the engine is no longer restarted. `given_up` is set before requests fail."""
        while True:
            if self._engine is not None:
                await self._until_dead(self._engine)
            now = time.monotonic()
            self._deaths.append(now)
            delay_s = self._rules.policy.delay_s(self._deaths, now)
            self.given_up = delay_s is None
            await self._end_dead_engine()
            if delay_s is None:
                _log.error("engine given up", extra={"fields": {"stage": self.name}})
                return
            await asyncio.sleep(delay_s)
            await self._restart()

    async def close(self) -> None:
        """Ends the running engine, if any. `supervise` has been cancelled before."""
        if self._engine is not None:
            await end_all([self._engine])

    async def _end_dead_engine(self) -> None:
        """Drops every reference to the engine, because its sockets and threads live as long as one exists."""
        engine, self._engine = self._engine, None
        try:
            self._on_death(self.death)
        except Exception as error:
            _log.error(
                "not every request was ended after an engine's death",
                extra={"fields": {"stage": self.name}},
                exc_info=error,
            )
        if engine is not None:
            await end_all([engine])

    async def _restart(self) -> None:
        _log.warning("engine restarts", extra={"fields": {"stage": self.name, "deaths": len(self._deaths)}})
        self.restarts += 1
        try:
            self._engine = await self._start()
        # A failed start counts as one more death. Its cause is logged only here.
        except Exception as error:
            _log.error("engine did not start", extra={"fields": {"stage": self.name}}, exc_info=error)

    async def _until_dead(self, engine: E) -> None:
        """Returns when the engine has died or has not answered a ping within `hang_s`."""
        pings = asyncio.create_task(self._until_unanswered(engine), name=f"ping-{self.name}")
        try:
            while engine.alive and not pings.done():
                await asyncio.wait({pings}, timeout=WATCH_S)
                if self._unanswered is not None:
                    self._unanswered.update(engine)
                self._log_stuck()
        finally:
            pings.cancel()
            await asyncio.gather(pings, return_exceptions=True)
            self._unanswered = None
        state = "hangs" if engine.alive else "died"
        _log.error(f"engine {state}", extra={"fields": {"stage": self.name}})

    def _log_stuck(self) -> None:
        """Logs once when the engine becomes stuck and once when it recovers."""
        stuck = self.stuck
        if stuck != self._was_stuck:
            _log.warning(stuck or "engine answers again", extra={"fields": {"stage": self.name}})
        self._was_stuck = stuck

    async def _until_unanswered(self, engine: E) -> None:
        while True:
            await asyncio.sleep(self._rules.ping_every_s)
            self._unanswered = UnansweredPing(engine.used_cpu_s())
            try:
                async with asyncio.timeout(self._rules.hang_s):
                    await engine.ping()
                self._unanswered = None
            # If a ping fails, `alive` becomes false a moment later; if it does not return, the engine hangs.
            except TimeoutError:
                return
            except Exception as error:
                _log.debug("ping failed", exc_info=error)
