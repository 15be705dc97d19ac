"""The state of a running engine."""

from __future__ import annotations

from dataclasses import dataclass, field

from antiphon_executor.interface.capacity import FrameTime


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """`stages`: alive by name (`thinker`, `talker`). Running counts and slots as of now.

    A stage that is not alive is being restarted, unless it is among those `given_up`. `stuck`: stages that
    are alive and take no work just now, with the reason. `parked`: streams that rest because they are far
    enough ahead of their clients. `frame_time`: empty while nothing is known of it.
    `dropped_messages`: of the sockets that the server reads, by the stage that sends.
    """

    stages: dict[str, bool]
    thinker_running: int
    talker_running: int
    slots_used: int
    slots_total: int
    given_up: tuple[str, ...] = ()
    restarts: dict[str, int] = field(default_factory=dict)
    parked: int = 0
    frame_time: FrameTime = field(default_factory=FrameTime)
    dropped_messages: dict[str, int] = field(default_factory=dict)
    stuck: dict[str, str] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        return all(self.stages.values())
