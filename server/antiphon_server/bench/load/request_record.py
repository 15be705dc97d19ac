"""What becomes of one request while it runs.

In: what was sent, answered, heard, and when. Out: its record. Nothing is sent or awaited here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from antiphon_server.bench.measure.dialect import reason_of
from antiphon_server.bench.measure.record import Outcome, StreamRecord
from antiphon_server.bench.measure.stream_metrics import StreamMetrics
from antiphon_server.bench.options import Answer, Input

_IDS = ("x-request-id", "request-id", "x-dashscope-request-id")
_SHOWN_CHARS = 160
_REFUSALS: dict[int, Outcome] = {429: "rejected", 503: "unavailable"}


class RequestTrace:
    """One request, first attempt to last. All times are of the monotonic clock."""

    def __init__(self, due: float, hearing: StreamMetrics) -> None:
        self.due = due
        self.hearing = hearing
        self.outcome: Outcome = "broken"
        self.ended_at: float | None = None
        self.retry_after_s: float | None = None
        self._sent_at: float | None = None
        self._headers_at: float | None = None
        self._status: int | None = None
        self._reason: str | None = None
        self._request_id: str | None = None
        self._rejections = 0

    def leave(self, at: float) -> None:
        """The head of the request is with the kernel."""
        if self._sent_at is None:
            self._sent_at = at

    def meet(self, status: int, headers: Mapping[str, str], at: float) -> None:
        """The head of the response."""
        self._status = status
        self._headers_at = at
        self._request_id = next((headers[name] for name in _IDS if name in headers), None)
        self.retry_after_s = read_retry_after(headers)

    def refuse(self, body: bytes) -> None:
        """The response is an error."""
        try:
            reason = reason_of(msgspec.json.decode(body))
        except msgspec.DecodeError:
            reason = body.decode(errors="replace")
        self.fail(_REFUSALS.get(self._status or 0, "http_error"), reason)
        self._rejections += self.outcome == "rejected"

    def fail(self, outcome: Outcome, reason: str | None) -> None:
        self.outcome = outcome
        self._reason = reason[:_SHOWN_CHARS] if reason else reason

    def conclude(self, answer: Answer) -> None:
        """The response has ended in order, as HTTP means it."""
        if not self.hearing.is_complete:
            self.fail("broken", "the stream ended without finish_reason or [DONE]")
        elif answer == "speech" and self.hearing.player is None:
            self.fail("no_audio", "speech was asked for and none came")
        else:
            self.outcome, self._reason = "ok", None

    def record(self, number: int, kind: Input, began: float) -> StreamRecord:
        hearing, player = self.hearing, self.hearing.player
        return StreamRecord(
            number=number,
            input=kind,
            due_s=self.due - began,
            sent_late_s=self._after(self._sent_at),
            outcome=self.outcome,
            status=self._status,
            reason=self._reason,
            request_id=self._request_id,
            rejections=self._rejections,
            retry_after_s=self.retry_after_s,
            headers_s=self._after(self._headers_at),
            ttft_s=self._after(hearing.first_text_at),
            ttfa_s=self._after(hearing.first_sound_at),
            ended_s=self._after(self.ended_at),
            rtf=hearing.rtf(self.due),
            speech_rtf=hearing.speech_rtf(),
            playback=player.read() if player else None,
            usage=hearing.usage,
            text_pieces=hearing.text_pieces,
            text="".join(hearing.text),
        )

    def _after(self, at: float | None) -> float | None:
        return None if at is None else at - self.due


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds: `retry-after-ms` before `retry-after`; None where neither is a number."""
    for name, a_second in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            value = float(headers.get(name, "")) / a_second
        except ValueError:
            continue
        if math.isfinite(value) and value >= 0:
            return value
    return None
