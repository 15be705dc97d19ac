"""The echo engine with a real process for each stage, which can be killed and is supervised as vLLM's are.

In: requests. Out: the echo engine's events, each after a round trip to the process of its stage. The
product's own `SupervisedStage` detects deaths and restarts.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from antiphon_executor.interface.errors import EngineDead
from antiphon_executor.interface.events import OmniEvent, SpeechDelta
from antiphon_executor.interface.request import OmniRequest
from antiphon_executor.interface.status import EngineStatus
from antiphon_executor.stages.restart_policy import RestartPolicy
from antiphon_executor.stages.supervisor import SupervisedStage, WatchRules
from tests.echo_engine import EchoEngine

STAGES = ("thinker", "talker")
# Echoes each line. Ends with the server, which closes its input.
_PROGRAM = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
SLOTS = 16


class EngineProcess:
    """One stage's process. A `supervised_stage.Engine`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._one_at_a_time = asyncio.Lock()

    @classmethod
    async def start(cls, name: str) -> EngineProcess:
        pipe = asyncio.subprocess.PIPE
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-SIc", _PROGRAM, name, stdin=pipe, stdout=pipe, start_new_session=True
            )
        )

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ping(self) -> None:
        """One round trip. ConnectionError if the process has ended."""
        async with self._one_at_a_time:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(b"step\n")
            await self._process.stdin.drain()
            if not await self._process.stdout.readline():
                raise ConnectionError("the process has gone")

    def used_cpu_s(self) -> float:
        return 0.0

    @property
    def compiling_s(self) -> float:
        return 0.0

    async def end(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


class EngineOfProcesses(EchoEngine):
    """`OmniEngine`. `hang_s`: as in the settings. `step_s`: duration of a step without its round trip."""

    def __init__(self, folder: Path, stages: dict[str, SupervisedStage[EngineProcess]]) -> None:
        super().__init__(folder)
        self._supervised = stages
        self._supervising = [asyncio.create_task(stage.supervise()) for stage in stages.values()]

    @classmethod
    async def start(cls, folder: Path, hang_s: float) -> EngineOfProcesses:
        policy = RestartPolicy(10_000, first_s=0.05, longest_s=0.05)
        watch = WatchRules(policy, hang_s, stuck_s=3.0, ping_every_s=0.1)
        stages = {}
        for name in STAGES:
            start = partial(EngineProcess.start, name)
            stages[name] = SupervisedStage(name, await start(), start, watch, _nothing_to_abort)
        return cls(folder, stages)

    async def events_of(self, request: OmniRequest) -> AsyncGenerator[OmniEvent]:
        for stage in STAGES if request.speech else STAGES[:1]:
            _ = self._supervised[stage].engine
        async with aclosing(super().events_of(request)) as events:
            async for event in events:
                await self._step("talker" if isinstance(event, SpeechDelta) else "thinker")
                yield event

    async def _step(self, name: str) -> None:
        """A request that waits for the process fails: the pipe closes."""
        stage = self._supervised[name]
        try:
            await stage.engine.ping()
        except (ConnectionError, OSError):
            raise EngineDead(name, 1.0) from None

    def status(self) -> EngineStatus:
        stages = self._supervised
        return EngineStatus(
            stages={name: stage.alive for name, stage in stages.items()},
            thinker_running=self.running,
            talker_running=self.running,
            slots_used=self.running,
            slots_total=SLOTS,
            stuck={name: why for name, stage in stages.items() if (why := stage.stuck) is not None},
            given_up=tuple(name for name, stage in stages.items() if stage.given_up),
            restarts={name: stage.restarts for name, stage in stages.items()},
        )

    def metrics(self) -> Iterable[Metric]:
        yield from super().metrics()
        for engine in ("vllm:", "antiphon_talker_"):
            yield GaugeMetricFamily(f"{engine}num_requests_waiting", "There is no queue.", value=0)

    async def close(self) -> None:
        for task in self._supervising:
            task.cancel()
        await asyncio.gather(*self._supervising, return_exceptions=True)
        await asyncio.gather(*(stage.close() for stage in self._supervised.values()))


def _nothing_to_abort(death: EngineDead) -> None:
    """Requests fail by themselves: an ended process closes its pipes."""
