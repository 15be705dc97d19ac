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

from antiphon_executor.protocol import EngineDead
from antiphon_executor.restart_policy import RestartPolicy

WATCH_S = 0.1
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


E = TypeVar("E", bound=Engine)


@dataclass(frozen=True, slots=True)
class Watch:
    """`hang_s`: an engine that leaves a ping unanswered for this long counts as dead."""

    policy: RestartPolicy
    hang_s: float
    ping_every_s: float = 2.0


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
        finally:
            pings.cancel()
            await asyncio.gather(pings, return_exceptions=True)
        state = "hangs" if engine.alive else "died"
        _log.error(f"engine {state}", extra={"fields": {"stage": self.name}})

    async def _until_silent(self, engine: E) -> None:
        while True:
            await asyncio.sleep(self._watch.ping_every_s)
            try:
                async with asyncio.timeout(self._watch.hang_s):
                    await engine.ping()
            # A ping that fails is answered by `alive`, a moment later; one that does not return is a hang.
            except TimeoutError:
                return
            except Exception as error:
                _log.debug("ping failed", exc_info=error)
