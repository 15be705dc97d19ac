"""An engine that is kept alive: watched, pinged, ended when it hangs, started again when it is dead.

In: a running engine, and how to start another. Out: the engine that runs now, or the news that there is none.
Never decides what a death means for a turn: that is told to `on_death`, before anything else is done.
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
_COMPUTES = 0.1  # CPU seconds a second, from which on an engine is in a step; it may share its cores
STARTING_S = 30.0  # a client that asks while an engine loads is told to come back after this long

_log = logging.getLogger("antiphon.engine")


class Endable(Protocol):
    """What holds processes of its own until it is ended."""

    async def end(self) -> None:
        """Ends the engine's processes, however it is."""
        ...


class Engine(Endable, Protocol):
    """What `stage.Stage` is to its supervisor."""

    @property
    def alive(self) -> bool: ...

    async def ping(self) -> None:
        """Returns when the engine has answered, between two of its steps."""
        ...

    def computed_s(self) -> float:
        """CPU time of the engine's processes, if a step may take long on that; a constant if not."""
        ...

    @property
    def compiling_s(self) -> float:
        """For how long the engine has compiled its oldest schema, as of the last ping."""
        ...


E = TypeVar("E", bound=Engine)


@dataclass(frozen=True, slots=True)
class Watch:
    """`hang_s`: an engine that leaves a ping unanswered for this long counts as dead.

    `stuck_s`: it counts as stuck after this long without an answer and without computing anything. Pings
    come `ping_every_s` after the last answer, so that much later at most it is noticed.
    """

    policy: RestartPolicy
    hang_s: float
    stuck_s: float
    ping_every_s: float = 1.0


class Silence:
    """A ping without an answer, and for how long. It begins anew whenever the engine computes meanwhile.

    A long step on a slow CPU answers no ping until it is over, and nothing is wrong. Time in which this
    process did not look does not count either: the answer may have been there.
    """

    def __init__(self, computed_s: float) -> None:
        self.lasted_s = 0.0
        self._looked_at = self._began_at = time.monotonic()
        self._computed_s = computed_s

    def goes_on(self, engine: Engine) -> None:
        """Called every `WATCH_S`."""
        now, computed_s = time.monotonic(), engine.computed_s()
        self.lasted_s += min(now - self._looked_at, 2 * WATCH_S)
        self._looked_at = now
        if computed_s - self._computed_s > _COMPUTES * (now - self._began_at):
            self.lasted_s, self._began_at, self._computed_s = 0.0, now, computed_s


async def end_all(engines: Iterable[Endable]) -> None:
    """Ends all of them, whatever one of them raises: that is logged."""
    ends = await asyncio.gather(*(engine.end() for engine in engines), return_exceptions=True)
    for error in ends:
        if isinstance(error, Exception):
            _log.error("an engine did not end cleanly", exc_info=error)


class SupervisedStage(Generic[E]):
    """One engine by its name, whichever process runs it now. The owner runs `supervise` as a task."""

    def __init__(
        self,
        name: str,
        engine: E,
        start: Callable[[], Awaitable[E]],
        watch: Watch,
        on_death: Callable[[EngineDead], None],
    ) -> None:
        self.name = name
        self.restarts = 0
        self.given_up = False
        self._engine: E | None = engine
        self._start = start
        self._watch = watch
        self._on_death = on_death
        self._deaths: list[float] = []
        self._silence: Silence | None = None
        self._was_stuck: str | None = None

    @property
    def engine(self) -> E:
        """The running engine. Raises `EngineDead` while there is none."""
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
        """Why the running engine takes no work just now, although it is alive; None while it does."""
        if not self.alive or self._engine is None:
            return None
        if self._silence is not None and self._silence.lasted_s > self._watch.stuck_s:
            return f"the {self.name} engine does not answer"
        if self._engine.compiling_s > self._watch.stuck_s:
            return f"the {self.name} engine has been compiling a JSON schema for too long"
        return None

    async def supervise(self) -> None:
        """Returns when restarting has been given up; `given_up` says so before any client hears of it."""
        while True:
            if self._engine is not None:
                await self._until_dead(self._engine)
            now = time.monotonic()
            self._deaths.append(now)
            delay_s = self._watch.policy.delay_s(self._deaths, now)
            self.given_up = delay_s is None
            await self._bury()
            if delay_s is None:
                _log.error("engine given up", extra={"fields": {"stage": self.name}})
                return
            await asyncio.sleep(delay_s)
            await self._restart()

    async def close(self) -> None:
        """Ends the running engine, if any. `supervise` has been cancelled before."""
        if self._engine is not None:
            await end_all([self._engine])

    async def _bury(self) -> None:
        """Nothing here knows the dead engine afterwards: sockets and threads go with the last who does."""
        engine, self._engine = self._engine, None
        try:
            self._on_death(self.death)
        except Exception as error:
            _log.error("a death was not told to all", extra={"fields": {"stage": self.name}}, exc_info=error)
        if engine is not None:
            await end_all([engine])

    async def _restart(self) -> None:
        _log.warning("engine restarts", extra={"fields": {"stage": self.name, "deaths": len(self._deaths)}})
        self.restarts += 1
        try:
            self._engine = await self._start()
        # Whatever a start dies of, it is one more death; its cause is told once, here.
        except Exception as error:
            _log.error("engine did not start", extra={"fields": {"stage": self.name}}, exc_info=error)

    async def _until_dead(self, engine: E) -> None:
        """Returns when the engine has died, or has not answered a ping in time."""
        pings = asyncio.create_task(self._until_silent(engine), name=f"ping-{self.name}")
        try:
            while engine.alive and not pings.done():
                await asyncio.wait({pings}, timeout=WATCH_S)
                if self._silence is not None:
                    self._silence.goes_on(engine)
                self._log_stuck()
        finally:
            pings.cancel()
            await asyncio.gather(pings, return_exceptions=True)
            self._silence = None
        state = "hangs" if engine.alive else "died"
        _log.error(f"engine {state}", extra={"fields": {"stage": self.name}})

    def _log_stuck(self) -> None:
        """Once when it begins, once when it is over."""
        stuck = self.stuck
        if stuck != self._was_stuck:
            _log.warning(stuck or "engine answers again", extra={"fields": {"stage": self.name}})
        self._was_stuck = stuck

    async def _until_silent(self, engine: E) -> None:
        while True:
            await asyncio.sleep(self._watch.ping_every_s)
            self._silence = Silence(engine.computed_s())
            try:
                async with asyncio.timeout(self._watch.hang_s):
                    await engine.ping()
                self._silence = None
            # A ping that fails is answered by `alive`, a moment later; one that does not return is a hang.
            except TimeoutError:
                return
            except Exception as error:
                _log.debug("ping failed", exc_info=error)
