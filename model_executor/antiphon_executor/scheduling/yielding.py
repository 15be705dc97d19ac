"""How the Thinker yields to the Talker: it waits for urgent steps, and text comes before prompts.

Both stages share the cores and their caches. A client that has just begun to play has less than 0.1 s of
audio. Each frame needs a token of text: 12.5 a second, more than steps with parts of prompts generate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from antiphon_executor.ipc.stage_activity import StageActivity
from antiphon_executor.scheduling.step_time.step_budget import PLAYING_STEP_S

# One Talker step and its delivery. A Thinker step follows each wait, so text goes on under any load.
LONGEST_WAIT_S = 0.05
_POLL_S = 0.001
# While speech is generated, a step of the Thinker takes at most about as long as one of the Talker.
PLAYING_S = 1.0
PLAYING_TOKENS = 256
# Prompts wait for text at most so long, and then have a step: text goes on in that step too.
LONGEST_POSTPONED_S = 0.5
# A step with a part of a prompt begins if the sound of every client lasts for as long as the longest of the
# last ones, and this much longer: then text follows, and becomes sound.
_TEXT_S = 0.25
_FORGOTTEN = 0.97


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
        self._longest_step_s = PLAYING_STEP_S
        self._postponed_since_s: float | None = None
        self._waits_since_s: dict[str, float] = {}

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

    def prompt_step_took(self, seconds: float) -> None:
        """A step with a part of a prompt, in some of which a window of media is encoded."""
        self._longest_step_s = max(seconds, self._longest_step_s * _FORGOTTEN, PLAYING_STEP_S)

    def left_out(self, prompts: Mapping[str, bool]) -> set[str]:
        """Those of `prompts` that the next step leaves out, so that the text of spoken answers comes first.

        `prompts`: those of several steps, by request, and whether there are many. Such a one may be left out
        again and again; any other begins after `LONGEST_POSTPONED_S` and is read to its end.
        """
        self._waits_since_s = {name: at_s for name, at_s in self._waits_since_s.items() if name in prompts}
        if not prompts:
            self._postponed_since_s = None
            return set()
        if not self.postpones_prompts():
            return set()
        now_s = self._clock()
        return {
            name
            for name, is_long in prompts.items()
            if now_s - self._waits_since_s.setdefault(name, now_s) <= LONGEST_POSTPONED_S or is_long
        }

    def postpones_prompts(self) -> bool:
        """Whether the next step has none, so that the text of spoken answers comes first."""
        now_s = self._clock()
        since_s = self._postponed_since_s
        is_short = self._activity.sound_until_s < now_s + self._longest_step_s + _TEXT_S
        if not is_short or not self.speech_plays or (since_s and now_s - since_s > LONGEST_POSTPONED_S):
            self._postponed_since_s = None
            return False
        self._postponed_since_s = since_s or now_s
        return True
