"""The measured record of one request, as the JSON report carries it."""

from __future__ import annotations

from typing import Literal

import msgspec

from antiphon_server.bench.measure.player import Playback

# `left`: the benchmark closed the stream after `--leave-after` seconds of audio. `cancelled`: Ctrl-C.
Outcome = Literal[
    "ok", "left", "rejected", "unavailable", "http_error", "error_event", "broken", "timeout",
    "no_connection", "no_audio", "cancelled",
]  # fmt: skip
GOOD: tuple[Outcome, ...] = ("ok", "left")


class Usage(msgspec.Struct, frozen=True):
    """Token counts that the server reported; 0 for counts that it left out."""

    input_tokens: int = 0
    input_audio_tokens: int = 0
    output_tokens: int = 0
    output_audio_tokens: int = 0

    @property
    def text_tokens(self) -> int:
        """Output tokens that are text."""
        return max(0, self.output_tokens - self.output_audio_tokens)


class StreamRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `due_s`, the time at which it should have been sent, counts from the start of the level.

    All other times count from `due_s`, so that a late sender and waits before retries count as latency.
    `sent_late_s`: until the request head was sent, including a new connection. `reason`: the server's error
    code, or a description. `rtf`: time to the last packet divided by the length of all audio; `speech_rtf`:
    the same without the first packet.
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
        """Whether the answer has audio and no underrun."""
        return self.is_good and self.playback is not None and self.playback.underruns == 0
