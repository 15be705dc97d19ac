"""OpenTelemetry spans of requests, made of their traces. Off unless `traces.endpoint` is set.

Attributes are figures and names of ours: no span has a part of a prompt, of media or of an answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from antiphon_server.config.settings import TraceSettings
from antiphon_server.version import VERSION

Value = str | int | float

# Name, the marks at which it may begin (the first that is there), the mark at which it ends.
_PARTS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("prompt", ("admitted",), "rendered"),
    ("media", ("rendered",), "media_ready"),
    ("admission", ("media_ready", "rendered", "admitted"), "started"),
    ("thinker", ("started",), "text_ended"),
    ("talker", ("talker_asked", "started"), "speech_ended"),
)
_EVENTS = ("first_text", "first_sound", "first_packet")
_CARRIED = ("traceparent", "tracestate")
# The exporter tries a collector that does not answer for ten seconds.
_CLOSE_S = 2.0


class RequestSpans:
    """The spans of one server. `exporter`: where finished spans go; by default the settings' collector."""

    def __init__(self, settings: TraceSettings, exporter: SpanExporter | None = None) -> None:
        resource = Resource.create({"service.name": settings.service_name, "service.version": VERSION})
        sampler = ParentBased(TraceIdRatioBased(settings.sampled_share))
        self._provider = TracerProvider(sampler, resource, shutdown_on_exit=False)
        sink = exporter or OTLPSpanExporter(endpoint=settings.endpoint)
        self._provider.add_span_processor(BatchSpanProcessor(sink))
        self._tracer = self._provider.get_tracer("antiphon", VERSION)

    def begin(self, name: str, headers: Mapping[str, str], arrived_s: float) -> RequestSpan:
        """`headers`: may carry the client's trace (W3C). `arrived_s`: monotonic clock."""
        carried = {key: headers[key] for key in _CARRIED if key in headers}
        context = TraceContextTextMapPropagator().extract(carried)
        # Spans have wall-clock times: those of other services stand beside them.
        offset_ns = time.time_ns() - time.monotonic_ns()  # noqa: TID251 - a time stamp
        began_ns = offset_ns + int(arrived_s * 1e9)
        span = self._tracer.start_span(name, context, api.SpanKind.SERVER, start_time=began_ns)
        return RequestSpan(self._tracer, span, began_ns)

    def close(self, limit_s: float = _CLOSE_S) -> None:
        """Send what is finished. What the collector does not take in this time is lost."""
        closing = threading.Thread(target=self._provider.shutdown, name="close-spans", daemon=True)
        closing.start()
        closing.join(limit_s)


class RequestSpan:
    """The span of one request."""

    def __init__(self, tracer: api.Tracer, span: api.Span, began_ns: int) -> None:
        self._tracer = tracer
        self._span = span
        self._began_ns = began_ns

    @property
    def exemplar(self) -> dict[str, str] | None:
        """Leads from a metric to this trace. None if it is not sampled."""
        context = self._span.get_span_context()
        return {"trace_id": f"{context.trace_id:032x}"} if context.trace_flags.sampled else None

    def end(self, marks_ms: Mapping[str, float], values: Mapping[str, Value], failure: str | None) -> None:
        """`marks_ms`: since the request's first byte. `failure`: what went wrong, in a word of ours."""
        if self._span.is_recording():
            self._span.set_attributes(dict(values))
            for name in _EVENTS:
                if name in marks_ms:
                    self._span.add_event(name, timestamp=self._ns(marks_ms[name]))
            self._add_parts(marks_ms)
        if failure is not None:
            self._span.set_status(api.StatusCode.ERROR, failure)
        self._span.end(self._ns(marks_ms["ended"]))

    def _add_parts(self, marks_ms: Mapping[str, float]) -> None:
        context = api.set_span_in_context(self._span)
        for name, starts, end in _PARTS:
            start = next((mark for mark in starts if mark in marks_ms), None)
            if start is not None and marks_ms.get(end, -1.0) >= marks_ms[start]:
                part = self._tracer.start_span(name, context, start_time=self._ns(marks_ms[start]))
                part.end(self._ns(marks_ms[end]))

    def _ns(self, ms: float) -> int:
        return self._began_ns + int(ms * 1e6)
