"""vLLM's own Prometheus metrics, one registry a stage, told apart by a `stage` label.

vLLM's logger clears its metrics from the global registry whenever a second engine starts; a registry of our
own for each stage keeps both. Uses the class attributes that vLLM offers for other metric backends.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample
from vllm.v1.metrics.loggers import PrometheusStatLogger


class StageMetrics:
    """The metrics of one stage (`thinker` or `talker`)."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._registry = CollectorRegistry()

    @property
    def stat_logger(self) -> type[PrometheusStatLogger]:
        """The class that `AsyncLLM(stat_loggers=[...])` takes; it then leaves its own logger out."""
        registry = self._registry

        class StageStatLogger(PrometheusStatLogger):
            _gauge_cls = staticmethod(partial(Gauge, registry=registry))
            _counter_cls = staticmethod(partial(Counter, registry=registry))
            _histogram_cls = staticmethod(partial(Histogram, registry=registry))

        return StageStatLogger

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
