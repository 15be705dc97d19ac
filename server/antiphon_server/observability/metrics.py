"""What the server counts of its own work, in Prometheus's terms, next to what the engines count.

In: observations from turns, and a look at the door and the engine at each scrape. Out: `/metrics`.
Label values come from fixed sets in this file; nothing that a client sends ever becomes one.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, cast, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from antiphon_executor.interface.events import GuardReason
from antiphon_executor.interface.status import EngineStatus
from antiphon_server.admission.load import Load
from antiphon_server.admission.refusals import RefusalReason
from antiphon_server.errors import ApiError, BadRequest, Overloaded

Outcome = Literal["ok", "client_error", "rejected", "unavailable", "fault", "aborted"]
AbortReason = Literal["disconnect", "stalled_client", "engine_dead"]
MediaRejection = Literal["limit", "host", "unreadable", "busy", "fault"]
Route = Literal["/v1/chat/completions", "/v1/models", "/v1/audio/voices", "other"]

_LATENCY_S = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0)
_TURN_S = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0)
_RATIO = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 5.0)
_SLACK_S = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0)
_LAG_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class ServerMetrics:
    """Counters and histograms of one server, in a registry of its own."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._counter("requests", "Finished requests by outcome.", "outcome", Outcome)
        self._aborted = self._counter("requests_aborted", "Turns stopped early.", "reason", AbortReason)
        self._media = self._counter(
            "media_rejected", "Requests refused for their media.", "reason", MediaRejection
        )
        self._first_token = self._seconds(
            "time_to_first_token",
            "First byte of a request to the first text of its answer.",
            _LATENCY_S,
        )
        self._first_audio = self._seconds(
            "time_to_first_audio",
            "First byte of a request to its first speech.",
            _LATENCY_S,
        )
        self._upload = self._seconds(
            "request_upload",
            "First to last byte of a chat request.",
            _LATENCY_S,
        )
        self._queued = self._seconds("queue_time", "Time a turn waited for its slot.", _LATENCY_S)
        self._duration = Histogram(
            "antiphon_request_duration_seconds",
            "First byte of a request to the last byte of its answer.",
            ("route",),
            buckets=_TURN_S,
            registry=self.registry,
        )
        for route in get_args(Route):
            self._duration.labels(route)
        self._lag = self._seconds("event_loop_lag", "How late the event loop ran a timer.", _LAG_S)
        self._tasks = Gauge("antiphon_event_loop_tasks", "Tasks of the event loop.", registry=self.registry)
        self._rtf = Histogram(
            "antiphon_audio_real_time_factor",
            "Time to make the frames of an answer's speech, over their length; pauses left out.",
            buckets=_RATIO,
            registry=self.registry,
        )
        self._slack = self._seconds("audio_slack", "Speech in a client's hand as more goes out.", _SLACK_S)
        self._underruns = Counter(
            "antiphon_audio_underruns", "Times a client had no speech left to play.", registry=self.registry
        )
        self._dry = Counter(
            "antiphon_audio_underrun_seconds", "How long clients had none.", registry=self.registry
        )
        self._derailed = self._counter("speech_derailed", "Answers cut by the guard.", "reason", GuardReason)
        self._spoken = Counter(
            "antiphon_audio_seconds_generated", "Seconds of speech sent.", registry=self.registry
        )
        self._heard = Counter(
            "antiphon_audio_seconds_received", "Seconds of sound read.", registry=self.registry
        )
        Gauge("antiphon_build_info", "Constant 1.", ("version", "python"), registry=self.registry).labels(
            version, platform.python_version()
        ).set(1)

    def request_finished(self, outcome: Outcome, route: Route, seconds: float) -> None:
        self._requests.labels(outcome).inc()
        self._duration.labels(route).observe(seconds)

    def uploaded(self, seconds: float) -> None:
        """`seconds` from a request's first byte to its body's last."""
        self._upload.observe(seconds)

    def request_aborted(self, reason: AbortReason) -> None:
        self._aborted.labels(reason).inc()

    def media_rejected(self, error: ApiError) -> None:
        """One request's media were refused with `error`."""
        self._media.labels(_media_rejection(error)).inc()

    def media_heard(self, seconds: float) -> None:
        """`seconds` of sound in a request's media."""
        self._heard.inc(seconds)

    def request_started(self, queued_s: float) -> None:
        self._queued.observe(queued_s)

    def first_token(self, seconds: float) -> None:
        """`seconds` from the request's first byte to its first text."""
        self._first_token.observe(seconds)

    def first_audio(self, seconds: float) -> None:
        """`seconds` from the request's first byte to its first speech."""
        self._first_audio.observe(seconds)

    def audio_sent(self, seconds: float) -> None:
        self._spoken.inc(seconds)

    def packet_sent(self, slack_s: float) -> None:
        """`slack_s`: what its client had in hand before it; negative where it had run dry."""
        self._slack.observe(max(slack_s, 0.0))
        if slack_s < 0:
            self._underruns.inc()
            self._dry.inc(-slack_s)

    def speech_derailed(self, reason: GuardReason) -> None:
        self._derailed.labels(reason).inc()

    def speech_finished(self, real_time_factor: float) -> None:
        """A whole spoken answer, as the engine timed it."""
        self._rtf.observe(real_time_factor)

    def loop_probed(self, lag_s: float, tasks: int) -> None:
        """How late the event loop was, and how many tasks it had just then."""
        self._lag.observe(lag_s)
        self._tasks.set(tasks)

    def watch_load(self, load: Callable[[], Load]) -> None:
        """Read the door at every scrape."""
        self.registry.register(_LoadCollector(load))

    def watch_engine(self, status: Callable[[], EngineStatus]) -> None:
        """Read the engine's own account of its work at every scrape."""
        self.registry.register(_EngineCollector(status))

    def render(self, engine_metrics: Iterable[Metric] = ()) -> bytes:
        """The text exposition format 0.0.4: ours first, then the engines' families."""
        return generate_latest(self.registry) + generate_latest(_Families(engine_metrics))  # type: ignore[arg-type]

    def _counter(self, name: str, text: str, label: str, values: object) -> Counter:
        counter = Counter(f"antiphon_{name}", text, (label,), registry=self.registry)
        for value in get_args(values):
            counter.labels(value)
        return counter

    def _seconds(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"antiphon_{name}_seconds", text, buckets=buckets, registry=self.registry)


def route_of(path: str) -> Route:
    """The label of a path: one of a fixed set, whatever a client asks for."""
    if path.startswith("/v1/models/"):
        return "/v1/models"
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


class _LoadCollector(Collector):
    def __init__(self, load: Callable[[], Load]) -> None:
        self._load = load

    def collect(self) -> Iterator[Metric]:
        load = self._load()
        depth = GaugeMetricFamily(
            "antiphon_stage_queue_depth", "Turns waiting for a slot.", labels=("stage",)
        )
        depth.add_metric(("thinker",), load.waiting_text)
        depth.add_metric(("talker",), load.waiting_speech)
        yield depth
        running = GaugeMetricFamily("antiphon_stage_running", "Turns holding a slot.", labels=("stage",))
        running.add_metric(("thinker",), load.running.sequences)
        running.add_metric(("talker",), load.running.streams)
        yield running
        yield GaugeMetricFamily(
            "antiphon_queued_media_seconds", "Sound and video waiting.", value=load.queued_media_seconds
        )
        yield GaugeMetricFamily("antiphon_media_bytes", "Decoded media of all turns.", value=load.media_bytes)
        yield from _admissions(load)


def _admissions(load: Load) -> Iterator[Metric]:
    """Whom the door let in, and whom not."""
    admitted = CounterMetricFamily("antiphon_admission_admitted", "Turns that started.", labels=("kind",))
    for kind in ("text", "speech"):
        admitted.add_metric((kind,), load.admitted.get(kind, 0))
    yield admitted
    refused = CounterMetricFamily("antiphon_admission_refused", "Turns sent away.", labels=("reason",))
    for reason in get_args(RefusalReason):
        refused.add_metric((reason,), load.refused.get(reason, 0))
    yield refused
    yield CounterMetricFamily(
        "antiphon_admission_softened", "Turns answered in text for want of speech.", value=load.fell_back
    )
    yield GaugeMetricFamily("antiphon_admission_keys", "Keys with a turn inside.", value=load.keys)
    yield from _promised(load)


def _promised(load: Load) -> Iterator[Metric]:
    """What the tickets of running turns hold, and the measured figures that starts depend on."""
    blocks = GaugeMetricFamily(
        "antiphon_admission_cache_blocks",
        "KV blocks promised to running turns, and those left; none where an engine does not say.",
        labels=("stage", "state"),
    )
    held, total = load.running, load.total
    for stage, used, all_blocks in (
        ("thinker", held.thinker_blocks, total.thinker_blocks),
        ("talker", held.talker_blocks, total.talker_blocks),
    ):
        blocks.add_metric((stage, "used"), used)
        blocks.add_metric((stage, "free"), max(all_blocks - used, 0))
    yield blocks
    yield GaugeMetricFamily(
        "antiphon_admission_live_streams", "Streams that somebody listens to.", value=held.live
    )
    yield GaugeMetricFamily(
        "antiphon_admission_live_streams_limit",
        "How many of those the Talker keeps in real time; all slots while it is not measured.",
        value=total.live if load.live_limit is None else load.live_limit,
    )
    yield GaugeMetricFamily(
        "antiphon_admission_frame_seconds",
        "What a Talker step takes with the streams there are; a frame is 0.08.",
        value=load.frame_s,
    )
    yield GaugeMetricFamily(
        "antiphon_admission_prompt_tokens", "Prompt tokens that are not read yet.", value=load.prompt_tokens
    )
    yield GaugeMetricFamily(
        "antiphon_admission_prefill_tokens_per_second",
        "How fast prompts are read; 0 until measured.",
        value=load.prefill_rate,
    )


class _EngineCollector(Collector):
    def __init__(self, status: Callable[[], EngineStatus]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        requests = GaugeMetricFamily(
            "antiphon_engine_requests", "Requests that an engine has not finished.", labels=("stage",)
        )
        requests.add_metric(("thinker",), status.thinker_running)
        requests.add_metric(("talker",), status.talker_running)
        yield requests
        slots = GaugeMetricFamily("antiphon_speech_slots", "Slots of the Talker.", labels=("state",))
        slots.add_metric(("used",), status.slots_used)
        slots.add_metric(("free",), status.slots_total - status.slots_used)
        yield slots
        yield GaugeMetricFamily(
            "antiphon_speech_parked",
            "Streams that rest, ahead of their clients.",
            value=status.paused_streams,
        )
        restarts = CounterMetricFamily(
            "antiphon_engine_restarts", "Engines started again after a death.", labels=("stage",)
        )
        for stage, count in status.restarts.items():
            restarts.add_metric((stage,), count)
        yield restarts
        dropped = CounterMetricFamily(
            "antiphon_engine_messages_dropped",
            "Messages of an engine that could not be read or used.",
            labels=("stage",),
        )
        for stage, count in status.dropped_messages.items():
            dropped.add_metric((stage,), count)
        yield dropped


class _Families:
    """Metric families as something that `generate_latest` can read."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
