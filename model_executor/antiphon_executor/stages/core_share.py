"""How many threads the Thinker uses on a CPU: all cores but one while no stream plays, else its share.

A change costs a few milliseconds, because OpenMP ends and starts threads, so it follows a while of silence.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from antiphon_executor.ipc.stage_activity import StageActivity

# After this long without a step of the Talker no stream plays: a paused one resumes within a second.
QUIET_S = 2.0


class CoreShare:
    """`share`: threads while the Talker runs; `cores`: threads while it does not."""

    def __init__(
        self,
        activity: StageActivity,
        share: int,
        cores: int,
        clock: Callable[[], float] = time.monotonic,
        set_threads: Callable[[int], None] = torch._C.set_num_threads,
    ) -> None:
        self._activity = activity
        self._share = share
        self._cores = cores
        self._clock = clock
        # vLLM disables `torch.set_num_threads` for the sake of pinned threads. These are not pinned.
        self._set_threads = set_threads
        self._threads = share

    def adjust(self) -> None:
        """Called before each step of the Thinker, in the thread that runs it."""
        is_quiet = self._clock() - self._activity.talker_ran_s > QUIET_S
        threads = self._cores if is_quiet else self._share
        if threads != self._threads:
            self._threads = threads
            self._set_threads(threads)
