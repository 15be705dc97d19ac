"""Every query of the dashboard and of the alerts on a real Prometheus that has scraped a loaded server."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from tests.chaos.proxy import free_port
from tests.e2e.answers import SPOKEN, said
from tests.e2e.server_process import RunningServer, becomes
from tests.e2e.test_realtime import SILENCE, spoken, talking
from tests.project.sources import ROOT

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not shutil.which("prometheus"), reason="Debian: prometheus"),
]

DEPLOY = ROOT / "deploy"
PANELS = json.loads((DEPLOY / "grafana/dashboards/antiphon.json").read_text())["panels"]
RULES = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"][0]["rules"]
# Each alert's expression ends in one comparison, which a healthy server does not meet.
COMPARISON = re.compile(r"\s[<>]\s*[\d.]+$")
QUERIES = {
    **{
        f"{panel['title']}, {target['refId']}": target["expr"].replace("$__rate_interval", "1m")
        for panel in PANELS
        for target in panel["targets"]
    },
    **{rule["alert"]: COMPARISON.sub("", rule["expr"].strip()) for rule in RULES},
}


class Prometheus:
    """One that scrapes a server every half second."""

    def __init__(self, folder: Path, server: RunningServer) -> None:
        self.port = free_port()
        self._folder = folder
        shutil.copy(DEPLOY / "prometheus/alerts.yaml", folder)
        settings = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())
        settings["global"] = {"scrape_interval": "500ms", "evaluation_interval": "1s"}
        (job,) = settings["scrape_configs"]
        del job["authorization"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{server.port}"]}]
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))

    def start(self) -> subprocess.Popen[bytes]:
        command = ["prometheus", f"--config.file={self._folder / 'prometheus.yaml'}"]
        command += [f"--storage.tsdb.path={self._folder / 'data'}"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}"]
        with (self._folder / "log").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/-/ready", timeout=20).status_code == 200
        except httpx.TransportError:
            return False

    def values(self, query: str) -> list[float]:
        """Of each series that the query returns now."""
        answer = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/query", params={"query": query}, timeout=20)
        assert answer.status_code == 200, answer.text
        return [float(series["value"][1]) for series in answer.json()["data"]["result"]]

    def count(self, query: str) -> float:
        return sum(self.values(query))

    def rules(self) -> dict[str, Any]:
        groups = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/rules", timeout=20).json()["data"]["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}


def load(server: RunningServer) -> None:
    """Text, speech, a rejected request, and a turn that is spoken and heard."""
    url = f"{server.url}/v1/chat/completions"
    asked = {"messages": said("What is two plus three?"), "max_tokens": 16}
    speech = {**SPOKEN, "audio": {"format": "pcm16"}, "stream": True}
    for body in (asked, {**asked, "stream": True}, {**asked, **speech}, {**asked, "temperature": 9}):
        assert httpx.post(url, json=body, timeout=120).status_code == (400 if "temperature" in body else 200)
    with talking(server) as talk:
        talk.say(np.concatenate((SILENCE[:3_200], spoken("What is two plus three?"), SILENCE)))
        talk.until("response.done")


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


def test_a_healthy_server_raises_no_alert(scraped: Prometheus) -> None:
    rules = scraped.rules()
    assert set(rules) == {rule["alert"] for rule in RULES}
    assert all(rule["health"] == "ok" for rule in rules.values())
    assert not [name for name, rule in rules.items() if rule["state"] == "firing"]
