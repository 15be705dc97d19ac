"""Renders the chart with Helm's own library: CHART, VALUES or "-", NAME; writes the objects as YAML.

Without arguments it writes `base/`, the chart's defaults for kustomize (`make kubernetes-base`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml
from helm_python.chart import Chart, lint

HERE = Path(__file__).parent
_ALL = {"metrics": {"serviceMonitor": True, "rules": True}, "autoscaling": {"kind": "none"}}


def objects(chart: Path, values: dict[str, Any], name: str = "antiphon") -> list[dict[str, Any]]:
    """Raises an error of Helm's, of its schema too."""
    report = lint(chart, values, strict=True)
    if errors := [one for one in report["messages"] if one["severity"] > 1]:
        raise SystemExit(str(errors))
    rendered = Chart.load(chart).render(values, name=name, namespace="default")
    texts = (text for path, text in sorted(rendered.items()) if path.endswith(".yaml"))
    return [one for text in texts for one in yaml.safe_load_all(text) if one]


def write_base() -> None:
    base = HERE / "base"
    for old in base.glob("*.yaml"):
        old.unlink()
    files = []
    for one in objects(HERE / "chart", _ALL):
        one["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "kustomize"
        name = f"{one['kind'].lower()}.yaml"
        (base / name).write_text(yaml.safe_dump(one, sort_keys=False, width=100_000))
        files.append(name)
    kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    listed = {**kustomization, "resources": sorted(files)}
    (base / "kustomization.yaml").write_text(yaml.safe_dump(listed, sort_keys=False))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        write_base()
    else:
        chart, values = Path(sys.argv[1]), sys.argv[2]
        chosen = {} if values == "-" else yaml.safe_load(Path(values).read_text())
        yaml.safe_dump_all(objects(chart, chosen, *sys.argv[3:]), sys.stdout, sort_keys=False)
