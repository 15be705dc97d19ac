"""Every query of the dashboard, the alerts and the autoscaler on a real Prometheus beside a loaded server."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterator

import pytest

from tests.e2e.prometheus import DEPLOY, PANELS, RULES, Prometheus, load
from tests.e2e.server_process import RunningServer, becomes

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not shutil.which("prometheus"), reason="Debian: prometheus"),
]

# Each alert's expression ends in one comparison, which a healthy server does not meet.
COMPARISON = re.compile(r"\s[<>]\s*[\d.]+$")
# The chart's own name is that of its Service, which a ServiceMonitor makes a label.
SCALER = (DEPLOY / "kubernetes/chart/templates/autoscaling.yaml").read_text()
SCALED = [
    query.replace('{{ include "antiphon.name" . }}', "antiphon")
    for query in re.findall(r"^ +query: (.+)$", SCALER, re.MULTILINE)
]
QUERIES = {
    **{
        f"{panel['title']}, {target['refId']}": target["expr"].replace("$__rate_interval", "1m")
        for panel in PANELS
        for target in panel["targets"]
    },
    **{rule["alert"]: COMPARISON.sub("", rule["expr"].strip()) for rule in RULES},
    **{f"autoscaler, {number}": query for number, query in enumerate(SCALED)},
}


@pytest.fixture(scope="module")
def scraped(nano_server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), nano_server)
    process = prometheus.start()
    try:
        assert becomes(prometheus.is_ready, 60)
        assert becomes(lambda: prometheus.count("count_over_time(up[1m])") >= 3, 60)
        load(nano_server)
        finished = "antiphon_realtime_turn_to_speech_seconds_count"
        assert becomes(lambda: prometheus.count(finished) >= 1, 30)
        # Rates need a further sample.
        seen = prometheus.count("count_over_time(up[5m])")
        assert becomes(lambda: prometheus.count("count_over_time(up[5m])") >= seen + 3, 30)
        yield prometheus
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_returns_figures(scraped: Prometheus, name: str) -> None:
    values = scraped.values(QUERIES[name])
    assert values, QUERIES[name]
    assert all(math.isfinite(value) for value in values), values


def test_the_autoscaler_asks_for_streams_and_for_the_queue() -> None:
    assert len(SCALED) == 2
    assert all('{service="antiphon"}' in query for query in SCALED)


def test_a_healthy_server_raises_no_alert(scraped: Prometheus) -> None:
    rules = scraped.rules()
    assert set(rules) == {rule["alert"] for rule in RULES}
    assert all(rule["health"] == "ok" for rule in rules.values())
    assert not [name for name, rule in rules.items() if rule["state"] == "firing"]
