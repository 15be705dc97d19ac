"""The state of a running engine."""

from __future__ import annotations

from dataclasses import dataclass, field

from antiphon_executor.interface.capacity import FrameTime


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """Snapshot of both stages. `stages`: by name (`thinker`, `talker`), whether it is alive.

    A stage that is not alive is being restarted unless `given_up` holds its name. `stuck`: stages that are
    alive but do not respond, with the reason. `paused_streams`: speech streams paused because they are far
    ahead of their clients. `frame_time`: empty before the first measurement. `dropped_messages`: messages
    from a stage that the server lost, by stage.
    """

    stages: dict[str, bool]
    thinker_running: int
    talker_running: int
    slots_used: int
    slots_total: int
    given_up: tuple[str, ...] = ()
    restarts: dict[str, int] = field(default_factory=dict)
    paused_streams: int = 0
    frame_time: FrameTime = field(default_factory=FrameTime)
    dropped_messages: dict[str, int] = field(default_factory=dict)
    stuck: dict[str, str] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        return all(self.stages.values())
