"""vLLM's Prometheus metrics in one registry per stage, the Talker's under names of our own.

vLLM removes its metrics from the global registry when a second engine starts, so each stage has its own
registry, set by the class attributes that vLLM provides for other metric backends.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from vllm.v1.metrics.loggers import PrometheusStatLogger

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.v1.metrics.loggers.PrometheusStatLogger": (
        "_gauge_cls",
        "_counter_cls",
        "_histogram_cls",
    ),
}


# Its metrics have the names that vLLM gives them.
MAIN_STAGE = "thinker"


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
        """The stage's metric families. Routers read one series of a `vllm:` gauge, so one stage has them."""
        for family in self._registry.collect():
            renamed = Metric(self._name(family.name), family.documentation, family.type, family.unit)
            renamed.samples = [sample._replace(name=self._name(sample.name)) for sample in family.samples]
            yield renamed

    def _name(self, vllm_name: str) -> str:
        is_main = self.stage == MAIN_STAGE
        return vllm_name if is_main else f"antiphon_{self.stage}_{vllm_name.removeprefix('vllm:')}"
