"""What was measured of one request.

In: nothing. Out: plain data, which the JSON report carries as it is.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from antiphon_server.bench.measure.player import Playback

# `left`: heard for as long as was asked, then hung up by us. `cancelled`: the run was stopped.
Outcome = Literal[
    "ok", "left", "rejected", "unavailable", "http_error", "error_event", "broken", "timeout",
    "no_connection", "no_audio", "cancelled",
]  # fmt: skip
GOOD: tuple[Outcome, ...] = ("ok", "left")


class Usage(msgspec.Struct, frozen=True):
    """Tokens as the server counted them; zero where it did not say."""

    input_tokens: int = 0
    input_audio_tokens: int = 0
    output_tokens: int = 0
    output_audio_tokens: int = 0

    @property
    def text_tokens(self) -> int:
        """Of the answer."""
        return max(0, self.output_tokens - self.output_audio_tokens)


class StreamRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `due_s` counts from the level's start, all other times from `due_s`, when it should have
    been sent: what a client waits because its sender was late, or was told to come back, is waiting too.
    `sent_late_s`: until the request's head had left, a new connection included. `reason`: the server's code,
    or what happened. `rtf`: time to the last packet over the length of all sound; `speech_rtf`: both without
    the first packet.
    """

    number: int
    input: str
    due_s: float
    sent_late_s: float | None = None
    outcome: Outcome
    status: int | None = None
    reason: str | None = None
    request_id: str | None = None
    rejections: int = 0
    retry_after_s: float | None = None
    headers_s: float | None = None
    ttft_s: float | None = None
    ttfa_s: float | None = None
    ended_s: float | None = None
    rtf: float | None = None
    speech_rtf: float | None = None
    playback: Playback | None = None
    usage: Usage | None = None
    text_pieces: int = 0
    text: str = ""

    @property
    def is_good(self) -> bool:
        return self.outcome in GOOD

    @property
    def is_clean(self) -> bool:
        """Answered, with sound, and without a hole in it."""
        return self.is_good and self.playback is not None and self.playback.underruns == 0
