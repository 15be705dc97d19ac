"""A necessary condition for a workload without late starts and underruns, given perfect foresight.

False if no schedule at all can start every stream in time without an underrun. It is an upper bound: True
does not mean that such a schedule exists.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.playback import FRAME_S, LOOK_AHEAD_S
from tests.talker.simulated_talker import TEXT_GRACE_S
from tests.talker.workloads import Call, Workload


def last_deadlines(call: Call) -> NDArray[np.float64]:
    """The latest moment for each frame in any clean schedule, [frames].

    A player that begins as late as it may, and is only ever slowed by its text and by all of its pauses,
    needs every frame last: with `d` for these and `t` for the moments of a clean schedule,
    t[0] <= start_by = d[0], and t[f] <= max(t[f-1] + frame, text[f] + grace) + pauses <= d[f] by induction.
    """
    paused_s = sum(end - begin for begin, end in call.pauses)
    due_s = np.empty(call.frames)
    due_s[0] = call.start_by_s
    for frame in range(1, call.frames):
        played_s = FRAME_S - (LOOK_AHEAD_S if frame == 1 else 0.0)
        due_s[frame] = max(due_s[frame - 1] + played_s, call.text_s[frame] + TEXT_GRACE_S)
    due_s[1:] += paused_s
    return due_s


def could_be_clean(work: Workload) -> bool:
    """Whether the demand of every interval fits into it (processor demand, Baruah et al. 1990, for batches).

    A frame whose call and text come at or after t1 and which is due by t2 is made by a step inside [t1, t2].
    A step has at most one frame of each stream, so there are at least as many steps as the stream with most
    such frames has; a step of n streams takes at least base + n * per_stream, and prompt tokens their own
    time on top. Where base * steps + per_stream * frames + per_token * tokens exceeds t2 - t1, nothing is
    clean.
    Every arrival is tried as t1, every due time as t2.
    """
    machine = work.machine
    live = [call for call in work.calls if call.live]
    if not live:
        return True
    dues = [last_deadlines(call) for call in live]
    if any(not _alone(work, call, due) for call, due in zip(live, dues, strict=True)):
        return False
    release = np.concatenate([np.maximum(call.text_s, call.arrives_s) for call in live])
    stream = np.concatenate([np.full(call.frames, number) for number, call in enumerate(live)])
    due = np.concatenate(dues)
    tokens = np.concatenate([_tokens(call) for call in live])
    order = np.argsort(due, kind="stable")
    release, due, tokens, stream = release[order], due[order], tokens[order], stream[order]
    for begin in {call.arrives_s for call in live}:
        counted = np.flatnonzero(release >= begin)
        nth = _rank(stream[counted])
        work_s = machine.base_s * np.maximum.accumulate(nth)
        work_s += machine.per_stream_s * np.arange(1, len(counted) + 1)
        work_s += machine.per_token_s * np.cumsum(tokens[counted])
        if np.any(work_s > due[counted] - begin + 1e-9):
            return False
    return True


def _rank(stream: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many elements up to and with each one are of the same stream."""
    order = np.argsort(stream, kind="stable")
    ordered = stream[order]
    first = np.searchsorted(ordered, ordered, side="left")
    rank = np.empty(len(stream), np.int64)
    rank[order] = np.arange(len(stream)) - first + 1
    return rank


def _tokens(call: Call) -> NDArray[np.float64]:
    """The prompt is computed before the first frame: its tokens are due with it."""
    tokens = np.zeros(call.frames)
    tokens[0] = call.prompt_tokens - 1
    return tokens


def _alone(work: Workload, call: Call, due: NDArray[np.float64]) -> bool:
    """A stream makes one frame per step; each needs its own step, after the previous one and its text."""
    done = call.arrives_s + work.machine.per_token_s * (call.prompt_tokens - 1)
    for frame in range(call.frames):
        done = max(done, call.text_s[frame]) + work.machine.step_s(1)
        if done > due[frame] + 1e-9:
            return False
    return True
