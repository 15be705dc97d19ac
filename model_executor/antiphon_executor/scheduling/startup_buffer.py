"""How much speech a stream begins with: as much as keeps its client until the next step of everybody is over.

In: how long such a step hardly takes longer than. Out: seconds or frames. Pure. One frame of 57 ms is the
soonest; where steps take longer than that, a client that began with it would stutter at once, and to spare
it the schedule would run small batches, which make less speech a second.
"""

from __future__ import annotations

from antiphon_executor.interface.playback import FRAME_S, seconds_of

# Between a step's end and the client: two sockets, two processes that may be busy.
_DELIVERY_S = 0.008
_MOST_FRAMES = 4


def startup_buffer_s(step_s: float) -> float:
    """Speech that a client should have before it plays. `step_s`: of a step with all streams in it.

    The nearer that is to a frame's length, the less soon a slow step is made good: so much of another one.
    """
    return min(step_s * (1 + step_s / FRAME_S) + _DELIVERY_S, seconds_of(_MOST_FRAMES))


def startup_buffer_frames(step_s: float) -> int:
    """Whole frames that are as long as `startup_buffer_s`."""
    wanted_s = startup_buffer_s(step_s)
    return next(frames for frames in range(1, _MOST_FRAMES + 1) if seconds_of(frames) >= wanted_s)
