"""The measured record of one turn of a conversation, as the JSON report carries it."""

from __future__ import annotations

from typing import Literal

import msgspec

from antiphon_server.bench.measure.player import Playback

# `missed_end`: the server did not notice that the user had stopped. `cut`: it stopped an answer, though the
# user was silent. `unanswered`: it noticed the end of the turn, and no whole answer came in time.
TurnOutcome = Literal["ok", "missed_end", "cut", "failed", "unanswered", "closed", "no_connection"]


class TurnRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One turn. All times are in seconds and count from the end of the user's speech.

    `detected_s`: when `speech_stopped` arrived. `latency_s`: when the first sound of the answer arrived.
    `early_ends`: how often the server took a pause within the utterance for its end. `false_barge_ins`: how
    often it heard speech while the user was silent.
    """

    conversation: int
    turn: int
    kind: str
    outcome: TurnOutcome
    reason: str | None = None
    detected_s: float | None = None
    latency_s: float | None = None
    done_s: float | None = None
    early_ends: int = 0
    false_barge_ins: int = 0
    playback: Playback | None = None
    text: str = ""

    @property
    def is_good(self) -> bool:
        return self.outcome == "ok"

    @property
    def thinking_s(self) -> float | None:
        """From the detected end of the turn to the first sound."""
        if self.latency_s is None or self.detected_s is None:
            return None
        return self.latency_s - self.detected_s
