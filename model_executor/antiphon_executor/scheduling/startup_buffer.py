"""The startup buffer: how much audio a client should have before it starts to play.

One frame of 57 ms is the minimum. If a step takes longer than the startup buffer, the client underruns at
once, and avoiding that would force small batches, which generate less speech per second.
"""

from __future__ import annotations

from antiphon_executor.interface.playback import FRAME_S, seconds_of

# From the end of a step to the client: two sockets and two processes that may be busy.
_DELIVERY_S = 0.008
_MAX_FRAMES = 4


def startup_buffer_s(step_s: float, slow_step_s: float = 0.0) -> float:
    """Seconds of audio to buffer. `step_s`: upper bound of a usual step with all live streams in it.

    The closer a step is to the length of a frame, the longer it takes to catch up after a slow step, so the
    buffer grows faster than the step. `slow_step_s`: a step that hardly any of the last minutes exceeded. The
    buffer is no shorter, for the next frame may take as long.
    """
    wanted_s = max(step_s * (1 + step_s / FRAME_S), slow_step_s) + _DELIVERY_S
    return min(wanted_s, seconds_of(_MAX_FRAMES))


def startup_buffer_frames(step_s: float) -> int:
    """The number of whole frames that hold `startup_buffer_s(step_s)`."""
    wanted_s = startup_buffer_s(step_s)
    return next(frames for frames in range(1, _MAX_FRAMES + 1) if seconds_of(frames) >= wanted_s)
