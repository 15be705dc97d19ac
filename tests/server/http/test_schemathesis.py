"""schemathesis with all checks on all operations of the document, against the server over the echo engine.

ANTIPHON_SCHEMATHESIS_EXAMPLES is the number of random requests per operation, beside those for each boundary.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project.sources import ROOT
from tests.server.process.test_serve import echo

HERE = Path(__file__).parent
HOOKS = "tests.server.http.schemathesis_hooks"
EXAMPLES = os.environ.get("ANTIPHON_SCHEMATHESIS_EXAMPLES", "3")


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_the_document_is_true_to_the_letter(checkpoint: Path, tmp_path: Path) -> None:
    with echo(checkpoint) as running:
        running.wait_until_ready()
        operations = running.get("/openapi.json").json()["paths"].values()
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")]
        command += ["run", f"{running.url}/openapi.json", "--checks", "all", "--workers", "1", "--seed", "1"]
        done = subprocess.run(
            [*command, "--max-examples", EXAMPLES, "--no-shrink", "--warnings", "off"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={
                **os.environ,
                "SCHEMATHESIS_HOOKS": "tests.server.http.schemathesis_hooks",
                "PYTHONPATH": str(ROOT),
            },
            check=False,
        )
    (tmp_path / "output").write_text(done.stdout, encoding="utf-8")
    assert done.returncode == 0, f"{tmp_path}/output\n{done.stdout[-20_000:]}{done.stderr[-2_000:]}"
    tested = re.search(r"Tested: (\d+)", done.stdout)
    assert tested
    assert int(tested[1]) == sum(len(methods) for methods in operations)
