"""The chart as Helm renders it: valid objects, confined pods, and a base for kustomize that is up to date."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from antiphon_server.config.settings import Settings
from antiphon_server.exits import FORCED_EXIT_S
from tests.conformance.homes import KUBERNETES, KUBERNETES_MODELS, CannotInstall
from tests.project.sources import ROOT

pytestmark = [pytest.mark.heavy, pytest.mark.promise("R35")]

FOLDER = ROOT / "deploy/kubernetes"
TIERS = ("nano", "light", "flash", "plus")
# CRDs of others: package and module of the schema.
CRDS = {
    "ScaledObject": "keda/keda.sh/v1alpha1/ScaledObject",
    "ServiceMonitor": "prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor",
    "PrometheusRule": "prometheus-operator/monitoring.coreos.com/v1/PrometheusRule",
}
VALIDATE = """
import sys, yaml, kubernetes_validate
for one in yaml.safe_load_all(sys.stdin):
    kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
"""
VALIDATE_CRD = """
const [kind, path] = [process.argv[1], process.argv[2]];
const module = require(process.env.NODE_HOME + "/node_modules/@kubernetes-models/" + path);
new module[kind](JSON.parse(require("fs").readFileSync(0, "utf8"))).validate();
"""
Object = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    try:
        KUBERNETES.install()
        KUBERNETES_MODELS.install()
    except CannotInstall as error:
        pytest.skip(str(error))


def render(values: Path | str) -> subprocess.CompletedProcess[str]:
    python = str(KUBERNETES.folder / "bin/python")
    command = [python, str(FOLDER / "render.py"), str(FOLDER / "chart"), str(values)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@cache
def rendered(tier: str) -> tuple[Object, ...]:
    done = render(FOLDER / f"values/{tier}.yaml")
    assert done.returncode == 0, done.stderr[-800:]
    return tuple(yaml.safe_load_all(done.stdout))


def base() -> list[Object]:
    listed = yaml.safe_load((FOLDER / "base/kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(
        file.name for file in (FOLDER / "base").glob("*.yaml") if file.stem != "kustomization"
    )
    return [yaml.safe_load((FOLDER / "base" / name).read_text()) for name in listed]


def of_kind(objects: tuple[Object, ...] | list[Object], kind: str) -> Object:
    (found,) = [one for one in objects if one["kind"] == kind]
    return found


@pytest.mark.parametrize("name", [*TIERS, "base"])
def test_the_schemas_of_kubernetes_and_of_the_operators_accept_every_object(name: str) -> None:
    objects = base() if name == "base" else rendered(name)
    plain = [one for one in objects if one["kind"] not in CRDS]
    assert len(plain) >= 5
    python = str(KUBERNETES.folder / "bin/python")
    text = yaml.safe_dump_all(plain)
    done = subprocess.run([python, "-c", VALIDATE], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-800:]
    for one in objects:
        if path := CRDS.get(one["kind"]):
            check = ["node", "-e", VALIDATE_CRD, one["kind"], path]
            done = subprocess.run(
                check,
                input=json.dumps(one),
                env=KUBERNETES_MODELS.environment(),
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr[-800:]


def test_the_schema_check_of_the_operators_refuses_what_is_wrong() -> None:
    """The check above is one."""
    monitor = copy.deepcopy(of_kind(base(), "ServiceMonitor"))
    monitor["spec"]["endpoints"] = "http"
    check = ["node", "-e", VALIDATE_CRD, "ServiceMonitor", CRDS["ServiceMonitor"]]
    done = subprocess.run(
        check,
        input=json.dumps(monitor),
        env=KUBERNETES_MODELS.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0


@pytest.mark.parametrize("tier", TIERS)
def test_pods_are_confined_and_gain_nothing(tier: str) -> None:
    objects = rendered(tier)
    pods = [one["spec"]["template"]["spec"] for one in objects if one["kind"] in ("Deployment", "Job")]
    assert pods
    for pod in pods:
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            confined = container["securityContext"]
            assert confined["allowPrivilegeEscalation"] is False
            assert confined["readOnlyRootFilesystem"] is True
            assert confined["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
    policy = of_kind(objects, "NetworkPolicy")["spec"]
    assert policy["egress"] == []
    assert "Egress" in policy["policyTypes"]
    server = of_kind(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= server.items()


@pytest.mark.parametrize("tier", TIERS)
def test_the_server_accepts_the_settings_and_has_time_to_drain(tier: str) -> None:
    objects = rendered(tier)
    maps = [one["data"] for one in objects if one["kind"] == "ConfigMap" and len(one["data"]) == 1]
    (text,) = [data["antiphon.yaml"] for data in maps if "antiphon.yaml" in data]
    file = yaml.safe_load(text)
    settings = Settings(**{**file, "engine": {"model": "/m", **file.get("engine", {})}})
    pod = of_kind(objects, "Deployment")["spec"]["template"]["spec"]
    timeouts = settings.server.timeouts
    assert pod["terminationGracePeriodSeconds"] >= timeouts.drain_grace_s + timeouts.drain_s + FORCED_EXIT_S
    assert timeouts.drain_grace_s >= 5
    (container,) = pod["containers"]
    assert str(settings.server.api_key_file).startswith("/etc/antiphon/keys/")
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/tmp", "/var/cache/antiphon", "/etc/antiphon/keys", "/etc/antiphon/settings"} <= mounts
    probes = {
        name: container[name]["httpGet"]["path"]
        for name in ("startupProbe", "readinessProbe", "livenessProbe")
    }
    assert probes == {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}


def test_autoscalers_and_rules_ask_for_metrics_of_ours() -> None:
    asked = re.findall(
        r"antiphon_admission_live_streams|antiphon_stage_queue_depth",
        str(rendered("flash")) + str(rendered("light")),
    )
    assert len(asked) >= 4
    alerts = of_kind(rendered("light"), "PrometheusRule")["spec"]["groups"][0]["rules"]
    source = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())["groups"][0]["rules"]
    assert [one["alert"] for one in alerts] == [one["alert"] for one in source]
    assert of_kind(rendered("light"), "Service")["metadata"]["name"] == "antiphon"


@pytest.mark.parametrize(
    "wrong",
    [
        {"replica": 2},
        {"replicas": 0},
        {"image": {"repository": ""}},
        {"autoscaling": {"kind": "magic"}},
        {"model": {"name": "a; rm"}},
        {"model": {"name": "m", "download": {"enabled": True}}},
        {"model": {"name": "", "download": {"enabled": True, "repository": "a/model"}}},
        {"tmp": "much"},
    ],
    ids=str,
)
def test_wrong_values_are_refused(tmp_path: Path, wrong: Object) -> None:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(wrong))
    assert render(tmp_path / "values.yaml").returncode != 0


def test_the_base_is_what_the_chart_renders(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("metrics: {serviceMonitor: true, rules: true}\n")
    done = render(tmp_path / "values.yaml")
    assert done.returncode == 0, done.stderr
    now = list(yaml.safe_load_all(done.stdout))
    for one in now:
        one["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "kustomize"
    key = lambda one: one["kind"]  # noqa: E731
    assert sorted(now, key=key) == sorted(base(), key=key)


def test_the_recipes_are_yaml_and_select_our_pods() -> None:
    pool, *_ = yaml.safe_load_all((FOLDER / "recipes/inferencepool.yaml").read_text())
    labels = of_kind(base(), "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert pool["spec"]["selector"]["matchLabels"].items() <= labels.items()
    stack = yaml.safe_load((FOLDER / "recipes/production-stack.yaml").read_text())
    name, _, value = stack["routerSpec"]["k8sLabelSelector"].partition("=")
    assert labels[name] == value
