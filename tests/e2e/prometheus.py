"""A real Prometheus beside a server, the panels and rules that ask it, and a load that fills them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml

from tests.chaos.proxy import free_port
from tests.e2e.answers import SPOKEN, said
from tests.e2e.server_process import RunningServer
from tests.e2e.test_realtime import SILENCE, spoken, talking
from tests.project.sources import ROOT

DEPLOY = ROOT / "deploy"
PANELS = json.loads((DEPLOY / "grafana/dashboards/antiphon.json").read_text())["panels"]
RULES = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"][0]["rules"]


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
        job["static_configs"] = [{"targets": [f"127.0.0.1:{server.port}"], "labels": {"service": "antiphon"}}]
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

    def over_time(self, query: str, since_s: float, step_s: float) -> list[dict[str, Any]]:
        """The series of a query until now: `metric`, and `values` as pairs of a time and a figure."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query_range"
        (now,) = self.values("max(timestamp(up))")
        asked = {"query": query, "start": now - since_s, "end": now, "step": step_s}
        answer = httpx.get(url, params=asked, timeout=20)  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

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
