"""What operators run beside the server: alert rules, the systemd unit, the image's script, `make help`."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from antiphon_server.config.settings import Timeouts
from antiphon_server.exits import FORCED_EXIT_S, ExitCode
from tests.project.sources import ROOT
from tests.project.test_setup import make

DEPLOY = ROOT / "deploy"
RULES = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"][0]["rules"]
needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="Debian: prometheus")
# For the parts of the machine that a unit names.
needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="Debian: systemd")


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, cwd=DEPLOY, **options
    )


@needs_promtool
@pytest.mark.heavy
def test_alerts_fire_in_trouble_and_only_then() -> None:
    done = run("promtool", "test", "rules", "prometheus/alerts_test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_in_both_cases_and_says_what_to_do() -> None:
    tests = yaml.safe_load((DEPLOY / "prometheus/alerts_test.yaml").read_text())["tests"]
    names = {rule["alert"] for rule in RULES}
    for quiet in tests[:2]:
        assert {one["alertname"] for one in quiet["alert_rule_test"]} == names
    (firing,) = tests[2]["promql_expr_test"][0]["exp_samples"]
    assert firing["value"] == len(names)
    for rule in RULES:
        assert rule["annotations"].keys() == {"summary", "action"}, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_prometheus_of_the_compose_file_loads_the_alerts() -> None:
    prometheus = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())
    mounts = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["prometheus"]["volumes"]
    assert prometheus["rule_files"] == ["alerts.yaml"]
    assert "./prometheus/alerts.yaml:/etc/prometheus/alerts.yaml:ro" in mounts


@needs_systemd
@pytest.mark.heavy
def test_the_unit_is_valid_and_confined(tmp_path: Path) -> None:
    program = tmp_path / "antiphon"
    program.write_text("#!/bin/sh\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    unit = (DEPLOY / "antiphon.service").read_text().replace("/opt/antiphon/bin/antiphon", str(program))
    (tmp_path / "antiphon.service").write_text(unit)
    checked = run("systemd-analyze", "verify", str(tmp_path / "antiphon.service"))
    assert (checked.returncode, checked.stderr) == (0, "")
    rated = run("systemd-analyze", "security", "--offline=true", "--threshold=50", "antiphon.service")
    assert rated.returncode == 0, rated.stdout[-500:]


def test_the_unit_gives_answers_time_to_end_and_restarts_only_what_may_start() -> None:
    unit = (DEPLOY / "antiphon.service").read_text()
    stop_s = int(re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[0])
    assert stop_s >= Timeouts().drain_grace_s + Timeouts().drain_s + FORCED_EXIT_S
    (listed,) = re.findall(r"^RestartPreventExitStatus=(.+)$", unit, re.MULTILINE)
    codes = {ExitCode(int(code)) for code in listed.split()}
    assert {ExitCode.BAD_CONFIG, ExitCode.INSECURE, ExitCode.WEAK_SANDBOX} <= codes
    assert not codes & {ExitCode.ENGINE_DIED, ExitCode.ENGINE_FAILED, ExitCode.FAULT}


def test_the_images_script_installs_its_tools_where_they_are_missing(tmp_path: Path) -> None:
    """Its own function `buildah` is no program."""
    script = (DEPLOY / "image_test.sh").read_text()
    functions = re.findall(
        r"^buildah\(\)[^\n]*$|^install_tools\(\) \{.*?^\}", script, re.MULTILINE | re.DOTALL
    )
    assert len(functions) == 2
    apt = tmp_path / "apt-get"
    apt.write_text(f"#!/bin/sh\necho $* >> {tmp_path}/installed\n")
    apt.chmod(0o755)
    command = "\n".join((*functions, "install_tools"))
    done = run("/bin/bash", "-c", command, env={"PATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "buildah debootstrap" in (tmp_path / "installed").read_text()
    for name in ("buildah", "debootstrap"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "installed").unlink()
    assert run("/bin/bash", "-c", command, env={"PATH": str(tmp_path)}).returncode == 0
    assert not (tmp_path / "installed").exists()


def test_make_help_lists_every_target() -> None:
    files = (ROOT / "Makefile", ROOT / "lock/lock.mk", ROOT / "tests/proofs.mk", ROOT / "deploy/deploy.mk")
    targets = {
        target
        for file in files
        for target in re.findall(r"^([a-z][a-z0-9%-]*):(?!=)", file.read_text(), re.MULTILINE)
    }
    listed = re.findall(r"^  make (\S+) +\S", make("help").stdout, re.MULTILINE)
    assert {"image-test", "bench-%", "audit", "rolling", "test-v2"} <= targets
    assert targets == set(listed)
    assert len((ROOT / "Makefile").read_text().splitlines()) < 90


def test_every_target_of_make_has_a_result() -> None:
    """What is listed was run once: RESULTS has its date and what came out."""
    (section,) = re.findall(
        r"^## Targets of make$(.*?)^## ", (ROOT / "tests/RESULTS.md").read_text(), re.MULTILINE | re.DOTALL
    )
    rows = re.findall(
        r"^\| `make ([^ `]+)[^`]*` \| 2\d{3}-\d\d-\d\d[^|]* \| [^|]*\w[^|]* \|$", section, re.MULTILINE
    )
    listed = re.findall(r"^  make (\S+) +\S", make("help").stdout, re.MULTILINE)
    assert [target for target in listed if target not in rows] == []
    assert [target for target in rows if target not in listed] == []


def test_reports_of_several_servers_become_one_table(tmp_path: Path) -> None:
    shares = {"p50": 0.1, "p95": 0.2}
    level = {
        "name": "8 at once",
        "good": 9,
        "requests": 10,
        "streams_with_underruns": 1,
        "audio_s_per_s": 3.5,
    }
    level |= {"latencies": {"ttfa_s": shares}, "machine_cost": {"per_hour_of_speech": 0.31}}
    for name in ("antiphon", "other"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"levels": [level]}))
    script = [sys.executable, "compare/table.py", *map(str, sorted(tmp_path.glob("*.json")))]
    lines = run(*script).stdout.splitlines()
    assert lines[2] == "| 8 at once | antiphon | 9 of 10 | 100 ms | 200 ms | 1 | 3.50 | 0.310 |"
    assert len(lines) == 4
    refused = run("bash", "compare/run.sh", "unknown", env={**os.environ, "OUT": str(tmp_path / "out")})
    assert refused.returncode != 0
