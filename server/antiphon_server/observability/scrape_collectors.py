"""Prometheus collectors that read the admission controller and the engine at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from antiphon_executor.interface.status import EngineStatus
from antiphon_server.admission.load import Load
from antiphon_server.admission.refusals import RefusalReason
from antiphon_server.files.store import FileStore


class LoadCollector(Collector):
    """Queue depths, admissions, refusals and held resources."""

    def __init__(self, load: Callable[[], Load]) -> None:
        self._load = load

    def collect(self) -> Iterator[Metric]:
        load = self._load()
        depth = GaugeMetricFamily(
            "antiphon_stage_queue_depth", "Requests that wait for a slot.", labels=("stage",)
        )
        depth.add_metric(("thinker",), load.waiting_text)
        depth.add_metric(("talker",), load.waiting_speech)
        yield depth
        running = GaugeMetricFamily("antiphon_stage_running", "Requests that hold a slot.", labels=("stage",))
        running.add_metric(("thinker",), load.running.sequences)
        running.add_metric(("talker",), load.running.streams)
        yield running
        yield GaugeMetricFamily(
            "antiphon_queued_media_seconds",
            "Seconds of audio and video in waiting requests.",
            value=load.queued_media_seconds,
        )
        yield GaugeMetricFamily(
            "antiphon_media_bytes", "Bytes of decoded media of all requests.", value=load.media_bytes
        )
        yield from _admissions(load)


def _admissions(load: Load) -> Iterator[Metric]:
    admitted = CounterMetricFamily("antiphon_admission_admitted", "Requests that started.", labels=("kind",))
    for kind in ("text", "speech"):
        admitted.add_metric((kind,), load.admitted.get(kind, 0))
    yield admitted
    refused = CounterMetricFamily(
        "antiphon_admission_refused", "Requests that admission control refused.", labels=("reason",)
    )
    for reason in get_args(RefusalReason):
        refused.add_metric((reason,), load.refused.get(reason, 0))
    yield refused
    yield CounterMetricFamily(
        "antiphon_admission_softened",
        "Requests with optional speech that were answered in text.",
        value=load.fell_back,
    )
    yield GaugeMetricFamily(
        "antiphon_admission_keys", "API keys with a waiting or running request.", value=load.keys
    )
    yield from _class_usage(load)
    yield from _held_resources(load)


def _class_usage(load: Load) -> Iterator[Metric]:
    """By class of the API key. No metric names a key, and the key file bounds the classes."""
    requests = CounterMetricFamily(
        "antiphon_class_requests", "Requests that started, by class of the API key.", labels=("key_class",)
    )
    tokens = CounterMetricFamily(
        "antiphon_class_tokens",
        "Tokens of prompts, texts and speech.",
        labels=("key_class",),
    )
    audio = CounterMetricFamily(
        "antiphon_class_audio_seconds", "Seconds of audio heard and spoken.", labels=("key_class",)
    )
    for name, used in load.usage.items():
        requests.add_metric((name,), used.requests)
        tokens.add_metric((name,), used.tokens)
        audio.add_metric((name,), used.audio_s)
    yield from (requests, tokens, audio)


def _held_resources(load: Load) -> Iterator[Metric]:
    """What running requests hold, and the measurements that starts depend on."""
    blocks = GaugeMetricFamily(
        "antiphon_admission_cache_blocks",
        "KV blocks reserved by running requests, and free ones; 0 if an engine does not report them.",
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
        "antiphon_admission_live_streams",
        "Speech streams that a client plays while they are generated.",
        value=held.live,
    )
    yield GaugeMetricFamily(
        "antiphon_admission_live_streams_limit",
        "Live streams that the Talker can generate in real time; all slots until it is measured.",
        value=total.live if load.live_limit is None else load.live_limit,
    )
    yield GaugeMetricFamily(
        "antiphon_admission_frame_seconds",
        "Duration of a Talker step with the running streams; a frame plays for 0.08 s.",
        value=load.frame_s,
    )
    yield GaugeMetricFamily(
        "antiphon_admission_prompt_tokens",
        "Prompt tokens that the Thinker has not processed.",
        value=load.prompt_tokens,
    )
    yield GaugeMetricFamily(
        "antiphon_admission_prefill_tokens_per_second",
        "Prefill rate of the Thinker; 0 until it is measured.",
        value=load.prefill_rate,
    )


class FileCollector(Collector):
    """Number and bytes of uploaded files, and what became of them."""

    def __init__(self, files: FileStore) -> None:
        self._files = files

    def collect(self) -> Iterator[Metric]:
        usage, counts = self._files.usage, self._files.counts
        yield GaugeMetricFamily("antiphon_files", "Uploaded files, of all API keys.", value=usage.files)
        yield GaugeMetricFamily(
            "antiphon_files_bytes", "Bytes of uploaded files, of all API keys.", value=usage.total_bytes
        )
        events = CounterMetricFamily(
            "antiphon_file_events", "Uploads that were stored or failed; files deleted.", labels=("event",)
        )
        for event in ("stored", "failed", "deleted", "expired"):
            events.add_metric((event,), getattr(counts, event))
        yield events


class EngineCollector(Collector):
    """Running requests, speech slots, restarts and lost messages of the engines."""

    def __init__(self, status: Callable[[], EngineStatus]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        requests = GaugeMetricFamily(
            "antiphon_engine_requests", "Requests that run in an engine.", labels=("stage",)
        )
        requests.add_metric(("thinker",), status.thinker_running)
        requests.add_metric(("talker",), status.talker_running)
        yield requests
        slots = GaugeMetricFamily("antiphon_speech_slots", "Speech slots of the Talker.", labels=("state",))
        slots.add_metric(("used",), status.slots_used)
        slots.add_metric(("free",), status.slots_total - status.slots_used)
        yield slots
        yield GaugeMetricFamily(
            "antiphon_speech_parked",
            "Speech streams paused because they are far ahead of their clients.",
            value=status.paused_streams,
        )
        restarts = CounterMetricFamily(
            "antiphon_engine_restarts", "Restarts of an engine after it stopped.", labels=("stage",)
        )
        for stage, count in status.restarts.items():
            restarts.add_metric((stage,), count)
        yield restarts
        dropped = CounterMetricFamily(
            "antiphon_engine_messages_dropped",
            "Messages from an engine that could not be decoded or used.",
            labels=("stage",),
        )
        for stage, count in status.dropped_messages.items():
            dropped.add_metric((stage,), count)
        yield dropped
