"""vLLM's own Prometheus metrics, one registry a stage, told apart by a `stage` label.

vLLM's logger clears its metrics from the global registry whenever a second engine starts; a registry of our
own for each stage keeps both. Uses the class attributes that vLLM offers for other metric backends.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample
from vllm.config import VllmConfig
from vllm.v1.metrics.loggers import PrometheusStatLogger


class StageMetrics:
    """The metrics of one stage (`thinker` or `talker`)."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._registry = CollectorRegistry()

    def stat_logger(self, vllm_config: VllmConfig, engine_indexes: list[int] | None = None) -> Any:
        """A factory as `AsyncLLM(stat_loggers=[...])` wants one."""
        registry = self._registry

        class StageStatLogger(PrometheusStatLogger):
            _gauge_cls = staticmethod(partial(Gauge, registry=registry))
            _counter_cls = staticmethod(partial(Counter, registry=registry))
            _histogram_cls = staticmethod(partial(Histogram, registry=registry))

        return StageStatLogger(vllm_config, engine_indexes)

    def collect(self) -> Iterator[Metric]:
        """The stage's metric families, every sample with `stage` beside vLLM's labels."""
        for family in self._registry.collect():
            labelled = Metric(family.name, family.documentation, family.type, family.unit)
            labelled.samples = [self._labelled(sample) for sample in family.samples]
            yield labelled

    def _labelled(self, sample: Sample) -> Sample:
        return sample._replace(labels={"stage": self.stage, **sample.labels})


def joined(stages: list[StageMetrics]) -> Iterator[Metric]:
    """All stages' families, one family a name, so that the exposition stays valid."""
    families: dict[str, Metric] = {}
    for stage in stages:
        for family in stage.collect():
            known = families.setdefault(family.name, family)
            if known is not family:
                known.samples.extend(family.samples)
    yield from families.values()
