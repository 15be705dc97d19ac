"""The server's Prometheus metrics, and the text of `/metrics`.

Label values come from fixed sets in this file. Nothing that a client sends becomes a label value.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Literal, cast, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric

from antiphon_executor.interface.events import GuardReason
from antiphon_executor.interface.status import EngineStatus
from antiphon_server.admission.load import Load
from antiphon_server.errors import ApiError, BadRequest, Overloaded
from antiphon_server.files.store import FileStore
from antiphon_server.observability.request_trace import exemplar
from antiphon_server.observability.scrape_collectors import EngineCollector, FileCollector, LoadCollector

Outcome = Literal["ok", "client_error", "rejected", "unavailable", "fault", "aborted"]
AbortReason = Literal["disconnect", "stalled_client", "engine_dead"]
MediaRejection = Literal["limit", "host", "unreadable", "busy", "fault"]
Route = Literal[
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/files",
    "/v1/models",
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/audio/voices",
    "/v1/realtime",
    "/v1/realtime/client_secrets",
    "other",
]

_LATENCY_S = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0)
_REQUEST_S = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0)
_RATIO = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 5.0)
_SLACK_S = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0)
_LAG_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class ServerMetrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        self._make_request_metrics()
        self._make_audio_metrics()
        self._make_realtime_metrics()
        self._lag = self._seconds("event_loop_lag", "Delay of a timer on the event loop.", _LAG_S)
        self._tasks = Gauge("antiphon_event_loop_tasks", "Tasks on the event loop.", registry=self.registry)
        build = Gauge(
            "antiphon_build_info",
            "Constant 1; the labels name the version.",
            ("version", "python"),
            registry=self.registry,
        )
        build.labels(version, platform.python_version()).set(1)

    def _make_request_metrics(self) -> None:
        self._requests = self._labelled("requests", "Finished requests by outcome.", "outcome", Outcome)
        self._aborted = self._labelled(
            "requests_aborted", "Requests aborted before their answer was complete.", "reason", AbortReason
        )
        self._media = self._labelled(
            "media_rejected", "Requests refused because of their media.", "reason", MediaRejection
        )
        to_text = "From the first byte of a request to the first text of its answer."
        self._first_token = self._seconds("time_to_first_token", to_text, _LATENCY_S)
        to_speech = "From the first byte of a request to the first speech of its answer."
        self._first_audio = self._seconds("time_to_first_audio", to_speech, _LATENCY_S)
        upload = "From the first to the last byte of a chat request."
        self._upload = self._seconds("request_upload", upload, _LATENCY_S)
        self._queued = self._seconds("queue_time", "Time that a request waited for a slot.", _LATENCY_S)
        self._duration = Histogram(
            "antiphon_request_duration_seconds",
            "From the first byte of a request to the last byte of its answer.",
            ("route",),
            buckets=_REQUEST_S,
            registry=self.registry,
        )
        for route in get_args(Route):
            self._duration.labels(route)

    def _make_audio_metrics(self) -> None:
        self._rtf = Histogram(
            "antiphon_audio_real_time_factor",
            "Generation time of an answer's speech divided by its length, without pauses.",
            buckets=_RATIO,
            registry=self.registry,
        )
        slack = "Audio that a client has buffered when the next packet is sent."
        self._slack = self._seconds("audio_slack", slack, _SLACK_S)
        self._underruns = self._counter("audio_underruns", "Times that a client had no audio left to play.")
        self._underrun_seconds = self._counter(
            "audio_underrun_seconds", "How long clients had no audio left to play."
        )
        self._derailed = self._labelled(
            "speech_derailed", "Spoken answers that the speech guard cut.", "reason", GuardReason
        )
        self._audio_generated = self._counter("audio_seconds_generated", "Seconds of speech sent to clients.")
        self._audio_received = self._counter(
            "audio_seconds_received", "Seconds of audio in the media of requests."
        )

    def _make_realtime_metrics(self) -> None:
        self._realtime = Gauge(
            "antiphon_realtime_connections", "Open realtime connections.", registry=self.registry
        )
        self._turns = self._counter("realtime_turns", "Turns of users that were detected or committed.")
        self._interruptions = self._counter(
            "realtime_interruptions", "Responses that a user's speech has cancelled."
        )
        self._unheard = self._counter(
            "realtime_truncated_seconds", "Seconds of sent speech that users have not heard."
        )
        self._read_ahead = self._counter(
            "realtime_tokens_read_ahead", "Prompt tokens that were computed while users still spoke."
        )
        reply = "From the end of a turn, or the request for a response, to its first speech."
        self._reply = self._seconds("realtime_turn_to_speech", reply, _LATENCY_S)
        lag = "From the arrival of audio to its score as speech."
        self._scored = self._seconds("voice_activity_lag", lag, _LAG_S)

    def realtime_opened(self) -> None:
        self._realtime.inc()

    def realtime_closed(self) -> None:
        self._realtime.dec()

    def turn_ended(self) -> None:
        self._turns.inc()

    def response_interrupted(self) -> None:
        self._interruptions.inc()

    def speech_unheard(self, seconds: float) -> None:
        """`seconds` of speech that was sent and then counts as not heard."""
        self._unheard.inc(seconds)

    def speech_read_ahead(self, tokens: int) -> None:
        self._read_ahead.inc(tokens)

    def turn_answered(self, seconds: float) -> None:
        """`seconds` from the start of a response to its first speech that was sent."""
        self._reply.observe(seconds)

    def speech_scored(self, lag_s: float) -> None:
        """`lag_s`: how long audio has waited for its score."""
        self._scored.observe(lag_s)

    def request_finished(self, outcome: Outcome, route: Route, seconds: float) -> None:
        self._requests.labels(outcome).inc()
        self._duration.labels(route).observe(seconds)

    def request_uploaded(self, seconds: float) -> None:
        """`seconds` from the first byte of a request to the last byte of its body."""
        self._upload.observe(seconds)

    def request_aborted(self, reason: AbortReason) -> None:
        self._aborted.labels(reason).inc()

    def media_rejected(self, error: ApiError) -> None:
        """The media of a request were refused with `error`."""
        self._media.labels(_media_rejection(error)).inc()

    def media_heard(self, seconds: float) -> None:
        """`seconds` of audio in the media of a request."""
        self._audio_received.inc(seconds)

    def request_started(self, queued_s: float) -> None:
        self._queued.observe(queued_s)

    def first_token(self, seconds: float) -> None:
        """`seconds` from the request's first byte to its first text."""
        self._first_token.observe(seconds, exemplar())

    def first_audio(self, seconds: float) -> None:
        """`seconds` from the request's first byte to its first speech."""
        self._first_audio.observe(seconds, exemplar())

    def audio_sent(self, seconds: float) -> None:
        self._audio_generated.inc(seconds)

    def packet_sent(self, slack_s: float) -> None:
        """`slack_s`: audio that the client had buffered before it; negative: the length of an underrun."""
        self._slack.observe(max(slack_s, 0.0))
        if slack_s < 0:
            self._underruns.inc()
            self._underrun_seconds.inc(-slack_s)

    def speech_derailed(self, reason: GuardReason) -> None:
        self._derailed.labels(reason).inc()

    def speech_finished(self, real_time_factor: float) -> None:
        """A spoken answer is complete; the engine timed it."""
        self._rtf.observe(real_time_factor)

    def loop_probed(self, lag_s: float) -> None:
        """`lag_s`: delay of a timer on the event loop."""
        self._lag.observe(lag_s)

    def watch_tasks(self, tasks: Callable[[], int]) -> None:
        """Export the number of tasks on the event loop, read at each scrape: counting takes milliseconds."""
        self._tasks.set_function(tasks)

    def watch_load(self, load: Callable[[], Load]) -> None:
        """Export the admission controller's load, read at each scrape."""
        self.registry.register(LoadCollector(load))

    def watch_engine(self, status: Callable[[], EngineStatus]) -> None:
        """Export the engine's status, read at each scrape."""
        self.registry.register(EngineCollector(status))

    def watch_files(self, files: FileStore) -> None:
        """Export what uploaded files use, read at each scrape."""
        self.registry.register(FileCollector(files))

    def render(
        self, engine_metrics: Iterable[Metric] = (), encode: Callable[..., bytes] = generate_latest
    ) -> bytes:
        """The server's metrics, then the engines'. `encode`: the exposition format; 0.0.4 by default."""
        return encode(_Families(chain(self.registry.collect(), engine_metrics)))

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"antiphon_{name}", text, registry=self.registry)

    def _labelled(self, name: str, text: str, label: str, values: object) -> Counter:
        """A counter with one label, of which every value is exported from the start."""
        counter = Counter(f"antiphon_{name}", text, (label,), registry=self.registry)
        for value in get_args(values):
            counter.labels(value)
        return counter

    def _seconds(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"antiphon_{name}_seconds", text, buckets=buckets, registry=self.registry)


def route_of(path: str) -> Route:
    """The label of a path, out of a fixed set."""
    routes: tuple[Route, ...] = ("/v1/models", "/v1/files")
    for route in routes:
        if path.startswith(f"{route}/"):
            return route
    return cast("Route", path) if path in get_args(Route) else "other"


def _media_rejection(error: ApiError) -> MediaRejection:
    match error:
        case Overloaded():
            return "busy"
        case BadRequest(code="media_limit_exceeded"):
            return "limit"
        case BadRequest(code="media_host_not_allowed"):
            return "host"
        case BadRequest():
            return "unreadable"
        case _:
            return "fault"


class _Families:
    """Metric families in the form that `generate_latest` reads."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
