"""vLLM's Prometheus metrics with one registry per stage and a `stage` label.

vLLM removes its metrics from the global registry when a second engine starts, so each stage has its own
registry, set by the class attributes that vLLM provides for other metric backends.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample
from vllm.v1.metrics.loggers import PrometheusStatLogger

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.v1.metrics.loggers.PrometheusStatLogger": (
        "_gauge_cls",
        "_counter_cls",
        "_histogram_cls",
    ),
}


class StageMetrics:
    """The metrics of one stage (`thinker` or `talker`)."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._registry = CollectorRegistry()

    @property
    def stat_logger(self) -> type[PrometheusStatLogger]:
        """A class for `AsyncLLM(stat_loggers=[...])`, which then does not add its own logger."""
        registry = self._registry

        class StageStatLogger(PrometheusStatLogger):
            _gauge_cls = staticmethod(partial(Gauge, registry=registry))
            _counter_cls = staticmethod(partial(Counter, registry=registry))
            _histogram_cls = staticmethod(partial(Histogram, registry=registry))

        return StageStatLogger

    def collect(self) -> Iterator[Metric]:
        """The stage's metric families, with the label `stage` added to every sample."""
        for family in self._registry.collect():
            labelled = Metric(family.name, family.documentation, family.type, family.unit)
            labelled.samples = [self._labelled(sample) for sample in family.samples]
            yield labelled

    def _labelled(self, sample: Sample) -> Sample:
        return sample._replace(labels={"stage": self.stage, **sample.labels})


def merged_metrics(stages: list[StageMetrics]) -> Iterator[Metric]:
    """The metric families of all stages, merged by name as the exposition format requires."""
    families: dict[str, Metric] = {}
    for stage in stages:
        for family in stage.collect():
            known = families.setdefault(family.name, family)
            if known is not family:
                known.samples.extend(family.samples)
    yield from families.values()
