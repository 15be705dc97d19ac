"""The images and the compose file keep their promises, and the dashboard asks for metrics that exist."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from antiphon_server.exits import FORCED_EXIT_S
from antiphon_server.observability.metrics import ServerMetrics
from tests.project.sources import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
DEPLOY = ROOT / "deploy"
PINNED = re.compile(r"@sha256:[0-9a-f]{64}$")


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return found


def stages() -> dict[str, tuple[str, str]]:
    """Stage to the one it starts from and its text."""
    parts = re.split(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)[1:]
    return {
        name: (parent, text) for parent, name, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    }


def chain(stage: str) -> str:
    """A stage's instructions with all that it stands on, from the base image up."""
    parent, text = stages().get(stage, ("", ""))
    return chain(parent) + text if parent else ""


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_an_image_runs_as_nobody_in_particular_and_says_when_it_is_ready(target: str) -> None:
    text = chain(target)
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE)[-1] == "10001:10001"
    assert re.search(r"^HEALTHCHECK .*CMD \[.*/readyz", text, re.MULTILINE)
    assert "STOPSIGNAL SIGTERM" in text
    assert re.search(r'^ENTRYPOINT \["tini", "--", "antiphon"\]$', text, re.MULTILINE)
    assert f"COPY --from=build-{target} /opt/antiphon /opt/antiphon" in text


def test_the_base_image_is_pinned_by_digest_and_no_stage_has_another() -> None:
    base = re.search(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert base
    assert PINNED.search(base[1])
    assert {parent for parent, _ in stages().values()} <= {"${PYTHON}", *stages()}


def test_what_the_images_copy_is_not_ignored() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for _, text in stages().values():
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
            assert {name.rstrip("/") for name in line.split()} <= sent


@pytest.mark.parametrize("name", ["antiphon", "prometheus", "grafana"])
def test_services_can_write_nowhere_and_gain_nothing(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert name == "antiphon" or PINNED.search(service["image"])


def preparation() -> str:
    """The command that makes the key file, from the compose file's first lines."""
    lines = (DEPLOY / "compose.yaml").read_text().splitlines()
    return next(line.removeprefix("#").strip() for line in lines if "api-key" in line)


def test_the_key_file_can_be_read_by_its_group_and_by_no_one_else(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    subprocess.run(["sh", "-c", preparation()], cwd=tmp_path, check=True)
    key = tmp_path / "deploy/api-key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o640
    assert re.fullmatch(r"[0-9a-f]{48}\n", key.read_text())
    assert (tmp_path / "deploy/.env").read_text() == f"KEY_GID={os.getgid()}\n"


def test_the_services_that_need_the_key_are_in_the_group_of_its_file_and_others_are_not() -> None:
    for name, service in services().items():
        needs = name in ("antiphon", "prometheus")
        assert service.get("secrets", []) == (["api_key"] if needs else [])
        assert [group.partition(":")[0] for group in service.get("group_add", [])] == ["${KEY_GID"] * needs


def test_the_server_is_stopped_no_sooner_than_it_has_drained() -> None:
    from antiphon_server.config.settings import Timeouts

    drains_s = Timeouts().drain_grace_s + Timeouts().drain_s
    assert int(services()["antiphon"]["stop_grace_period"].removesuffix("s")) >= drains_s + FORCED_EXIT_S


@pytest.mark.parametrize(
    "name", ["antiphon.service", "compose.yaml", "kubernetes/chart/templates/deployment.yaml"]
)
def test_comments_on_the_way_out_name_its_limit(name: str) -> None:
    (named,) = re.findall(r"the way out \(?(\d+) s\b", (DEPLOY / name).read_text())
    assert int(named) == FORCED_EXIT_S


def test_prometheus_scrapes_the_server_with_the_server_s_own_key() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())["scrape_configs"]
    assert job["static_configs"][0]["targets"] == ["antiphon:8000"]
    assert job["metrics_path"] == "/metrics"
    for name in ("antiphon", "prometheus"):
        assert services()[name]["secrets"] == ["api_key"]
    assert (
        job["authorization"]["credentials_file"]
        == services()["antiphon"]["environment"]["ANTIPHON_API_KEY_FILE"]
    )


def test_mounted_files_exist() -> None:
    mounts = [v for s in services().values() for v in s.get("volumes", ()) if v.startswith("./")]
    assert mounts
    for mount in mounts:
        assert (DEPLOY / mount.split(":")[0]).exists(), mount


def queries() -> list[str]:
    dashboard = json.loads((DEPLOY / "grafana/dashboards/antiphon.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_the_picture_of_the_dashboard_has_each_of_its_panels() -> None:
    dashboard = json.loads((DEPLOY / "grafana/dashboards/antiphon.json").read_text())
    picture = (DEPLOY / "grafana/dashboard.svg").read_text()
    assert [one["title"] for one in dashboard["panels"] if f">{one['title']}<" not in picture] == []


def test_the_dashboard_shows_metrics_that_the_server_has() -> None:
    # Collectors make the metrics of admission and the engine at a scrape: their names stand in the source.
    source = (ROOT / "server/antiphon_server/observability/scrape_collectors.py").read_text()
    exposed = set(re.findall(r"^(antiphon_\w+)[ {]", ServerMetrics("test").render().decode(), re.MULTILINE))
    named = re.findall(r'"(antiphon_\w+)"', source)
    exposed |= {*named, *(f"{name}_total" for name in named)}
    asked = {name for query in queries() for name in re.findall(r"\bantiphon_(?!talker_)\w+", query)}
    assert asked
    assert asked <= exposed


def test_the_dashboard_shows_metrics_that_vllm_has() -> None:
    spec = find_spec("vllm")
    assert spec is not None
    assert spec.origin is not None
    source = (Path(spec.origin).parent / "v1/metrics/loggers.py").read_text()
    asked = {name for query in queries() for name in re.findall(r"\b(?:vllm:|antiphon_talker_)(\w+)", query)}
    assert asked
    for name in asked:
        assert f'"vllm:{name.removesuffix("_total")}"' in source


@pytest.mark.parametrize("script", [".ci/run", "lock/install.sh", "deploy/image_test.sh"])
def test_scripts_parse_and_stop_at_the_first_error(script: str) -> None:
    subprocess.run(["bash", "-n", script], cwd=ROOT, check=True)
    assert re.search(r"^set -eu", (ROOT / script).read_text(), re.MULTILINE)
