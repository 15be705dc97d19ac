"""The trace of one running request: the times and facts from which its `StreamRecord` is made."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from antiphon_server.bench.measure.dialect import error_reason
from antiphon_server.bench.measure.record import Outcome, StreamRecord
from antiphon_server.bench.measure.stream_metrics import StreamMetrics
from antiphon_server.bench.options import Answer, Input

_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-dashscope-request-id")
_SHOWN_CHARS = 160
_STATUS_OUTCOMES: dict[int, Outcome] = {429: "rejected", 503: "unavailable"}


class RequestTrace:
    """One request from its first attempt to its last. All times are on the monotonic clock."""

    def __init__(self, due: float, metrics: StreamMetrics) -> None:
        self.due = due
        self.metrics = metrics
        self.outcome: Outcome = "broken"
        self.ended_at: float | None = None
        self.retry_after_s: float | None = None
        self._sent_at: float | None = None
        self._headers_at: float | None = None
        self._status: int | None = None
        self._reason: str | None = None
        self._request_id: str | None = None
        self._rejections = 0

    def mark_sent(self, at: float) -> None:
        """The head of the first attempt has been written to the socket."""
        if self._sent_at is None:
            self._sent_at = at

    def mark_headers(self, status: int, headers: Mapping[str, str], at: float) -> None:
        """The head of a response has arrived."""
        self._status = status
        self._headers_at = at
        self._request_id = next((headers[name] for name in _REQUEST_ID_HEADERS if name in headers), None)
        self.retry_after_s = parse_retry_after(headers)

    def set_error_response(self, body: bytes) -> None:
        """The response has an error status; `body` says why."""
        try:
            reason = error_reason(msgspec.json.decode(body))
        except msgspec.DecodeError:
            reason = body.decode(errors="replace")
        self.set_failure(_STATUS_OUTCOMES.get(self._status or 0, "http_error"), reason)
        self._rejections += self.outcome == "rejected"

    def set_failure(self, outcome: Outcome, reason: str | None) -> None:
        self.outcome = outcome
        self._reason = reason[:_SHOWN_CHARS] if reason else reason

    def set_finished(self, answer: Answer) -> None:
        """The response body has ended as HTTP requires; checks that the answer is complete."""
        if not self.metrics.is_complete:
            self.set_failure("broken", "the stream ended without finish_reason or [DONE]")
        elif answer == "speech" and self.metrics.player is None:
            self.set_failure("no_audio", "speech was requested but no audio arrived")
        else:
            self.outcome, self._reason = "ok", None

    def to_record(self, number: int, kind: Input, began: float) -> StreamRecord:
        """`began`: the start of the level."""
        metrics, player = self.metrics, self.metrics.player
        return StreamRecord(
            number=number,
            input=kind,
            due_s=self.due - began,
            sent_late_s=self._since_due(self._sent_at),
            outcome=self.outcome,
            status=self._status,
            reason=self._reason,
            request_id=self._request_id,
            rejections=self._rejections,
            retry_after_s=self.retry_after_s,
            headers_s=self._since_due(self._headers_at),
            ttft_s=self._since_due(metrics.first_text_at),
            ttfa_s=self._since_due(metrics.first_audio_at),
            ended_s=self._since_due(self.ended_at),
            rtf=metrics.rtf(self.due),
            speech_rtf=metrics.speech_rtf(),
            playback=player.to_playback() if player else None,
            usage=metrics.usage,
            text_pieces=metrics.text_pieces,
            text="".join(metrics.text),
        )

    def _since_due(self, at: float | None) -> float | None:
        return None if at is None else at - self.due


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from `retry-after-ms`, else from `retry-after`; None if neither is a number."""
    for name, units_per_s in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            value = float(headers.get(name, "")) / units_per_s
        except ValueError:
            continue
        if math.isfinite(value) and value >= 0:
            return value
    return None
