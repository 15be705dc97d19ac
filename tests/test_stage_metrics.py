"""The names of vLLM's metrics of both stages: routers read a `vllm:` gauge as one series."""

from __future__ import annotations

import pytest

from antiphon_executor.stages.metrics import StageMetrics

pytestmark = pytest.mark.heavy


def exported(stage: str) -> dict[str, dict[str, str]]:
    """Names of the samples of one gauge and one counter, with their labels."""
    metrics = StageMetrics(stage)
    logger = metrics.stat_logger
    logger._gauge_cls("vllm:num_requests_running", "Running.", labelnames=["engine"]).labels("0").set(2)
    logger._counter_cls("vllm:generation_tokens", "Tokens.", labelnames=["engine"]).labels("0").inc(3)
    samples = [sample for family in metrics.collect() for sample in family.samples]
    return {sample.name: sample.labels for sample in samples if not sample.name.endswith("_created")}


def test_the_thinker_keeps_the_names_and_labels_of_vllm() -> None:
    names = ("vllm:num_requests_running", "vllm:generation_tokens_total")
    assert exported("thinker") == {name: {"engine": "0"} for name in names}


def test_the_talker_has_names_of_its_own() -> None:
    names = ("antiphon_talker_num_requests_running", "antiphon_talker_generation_tokens_total")
    assert exported("talker") == {name: {"engine": "0"} for name in names}
