"""How the Thinker yields to the Talker: it waits for urgent steps, and reads prompts in short steps.

Both stages share the cores and their caches. Text is generated many times faster than it is spoken, while a
client that has just begun to play has less than 0.1 s of audio.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from antiphon_executor.ipc.stage_activity import StageActivity

# One Talker step and its delivery. A Thinker step follows each wait, so text goes on under any load.
LONGEST_WAIT_S = 0.05
_POLL_S = 0.001
# While speech is generated, a step of the Thinker takes at most about as long as one of the Talker.
PLAYING_S = 1.0
PLAYING_TOKENS = 256


class Yielding:
    """`clock` and `sleep` are those of a test, or the real ones."""

    def __init__(
        self,
        activity: StageActivity,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._activity = activity
        self._clock = clock
        self._sleep = sleep

    def wait_for_talker(self) -> None:
        """Returns when the Talker claims the cores no longer, at the latest after `LONGEST_WAIT_S`."""
        now_s = self._clock()
        end_s = now_s + LONGEST_WAIT_S
        while now_s < min(self._activity.claimed_until_s, end_s):
            self._sleep(_POLL_S)
            now_s = self._clock()

    @property
    def speech_plays(self) -> bool:
        """Whether the Talker has just run."""
        return self._clock() - self._activity.talker_ran_s <= PLAYING_S

    def step_tokens(self, limit: int, running: int) -> int:
        """The most tokens of a step. `limit`: without speech; `running`: requests that decode."""
        if not self.speech_plays:
            return limit
        # Whole blocks of a prompt beside the tokens of those that decode.
        return min(limit, PLAYING_TOKENS + running)
