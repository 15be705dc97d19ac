"""Request traces: when one request reached each stage, as one log line and as OpenTelemetry spans.

Without `logs.milestones` and `traces.endpoint` a trace is kept only for a request that asks for its times;
otherwise a mark costs one look-up of a variable.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal

from antiphon_executor.interface.request import EngineMark, MarkSink

if TYPE_CHECKING:
    # Imported with OpenTelemetry, which takes a quarter of a second.
    from antiphon_server.observability.spans import RequestSpan, RequestSpans, Value

ServerMark = Literal[
    "body_read",
    "planned",
    "admitted",
    "rendered",
    "media_ready",
    "started",
    "first_text",
    "first_sound",
    "first_packet",
    "text_ended",
    "speech_ended",
    "ended",
]

_log = logging.getLogger("antiphon.milestones")


class RequestTrace:
    """The marks of one request, in milliseconds since its first byte. Only the first of each name counts.

    `span`: exports them at the end. `is_logged`: whether they are a log line too.
    """

    def __init__(self, arrived_s: float, span: RequestSpan | None = None, *, is_logged: bool = True) -> None:
        self._arrived_s = arrived_s
        self._span = span
        self._is_logged = is_logged
        self._ms: dict[str, float] = {}
        self._values: dict[str, Value] = {}

    @property
    def exemplar(self) -> dict[str, str] | None:
        return None if self._span is None else self._span.exemplar

    def mark(self, name: ServerMark | EngineMark, at_s: float) -> None:
        """`at_s`: monotonic clock."""
        self._ms.setdefault(name, round((at_s - self._arrived_s) * 1e3, 2))

    def note(self, name: str, value: Value) -> None:
        """An attribute of the span."""
        self._values[name] = value

    def read(self) -> dict[str, float]:
        """All marks, sorted by time."""
        return {f"{name}_ms": ms for name, ms in sorted(self._ms.items(), key=lambda mark: mark[1])}

    def log(self) -> None:
        """Write all marks in one line."""
        if self._is_logged:
            _log.info("milestones", extra={"fields": self.read()})

    def end_span(self, failure: str | None) -> None:
        """Export the span. Idempotent."""
        span, self._span = self._span, None
        if span is not None:
            self.mark("ended", time.monotonic())
            span.end(self._ms, self._values, failure)


current: ContextVar[RequestTrace | None] = ContextVar("request_trace", default=None)


# Headers that may carry the trace of the client of this task.
client_headers: ContextVar[Mapping[str, str]] = ContextVar("client_headers", default={})  # noqa: B039 - read only


def new_trace(
    name: str, values: Mapping[str, Value], arrived_s: float, spans: RequestSpans | None, *, is_logged: bool
) -> RequestTrace | None:
    """None if the settings ask for neither spans nor a log line. `values`: attributes of the span."""
    if spans is None:
        return RequestTrace(arrived_s) if is_logged else None
    trace = RequestTrace(arrived_s, spans.begin(name, client_headers.get(), arrived_s), is_logged=is_logged)
    for key, value in values.items():
        trace.note(key, value)
    return trace


def mark(name: ServerMark) -> None:
    """Record that this task's request has reached `name` now."""
    if (trace := current.get()) is not None:
        trace.mark(name, time.monotonic())


def note(name: str, value: Value) -> None:
    """Record an attribute of this task's request."""
    if (trace := current.get()) is not None:
        trace.note(name, value)


def exemplar() -> dict[str, str] | None:
    """Leads from a metric to the trace of this task's request."""
    trace = current.get()
    return None if trace is None else trace.exemplar


def engine_marker() -> MarkSink | None:
    """The callback through which the engine adds its own marks, or None if traces are off."""
    trace = current.get()
    return None if trace is None else trace.mark


def log_trace() -> None:
    """Mark the end of this task's request and log its trace."""
    if (trace := current.get()) is not None:
        trace.mark("ended", time.monotonic())
        trace.log()


def end_span(failure: str | None) -> None:
    """Export the span of this task's request, if it has one. `failure`: why it has failed."""
    if (trace := current.get()) is not None:
        trace.end_span(failure)
