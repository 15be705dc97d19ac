"""Realtime clients for Node: OpenAI's own over TLS, and its agents with a tool that they run."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.conformance.conftest import CERTIFICATE, Served
from tests.conformance.homes import REALTIME_NODE, CannotInstall


def run(script: str, url: str, **environment: str) -> dict[str, Any]:
    try:
        REALTIME_NODE.install()
    except CannotInstall as error:
        pytest.skip(str(error))
    done = subprocess.run(
        REALTIME_NODE.command(f"echo/{script}", url, str(REALTIME_NODE.folder)),
        env=REALTIME_NODE.environment(**environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    got: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return got


def test_openais_client_speaks_over_tls(tls_port: int) -> None:
    got = run("realtime_node.mjs", f"https://127.0.0.1:{tls_port}", NODE_EXTRA_CA_CERTS=str(CERTIFICATE))
    assert got == {"status": "completed", "transcript": "good morning", "bytes": 21_930}


def test_agents_run_their_tool_and_hear_what_follows(served: Served) -> None:
    got = run("realtime_agents.mjs", served.url)
    assert got["spoken"] == ["good morning"]
    assert got["called"] == ["Let me see.", "add"]
    assert got["calls"] == [[1, 2]]
    assert "3" in got["after"][0]
    assert got["errors"] == []
    assert got["bytes"] > 20_000
