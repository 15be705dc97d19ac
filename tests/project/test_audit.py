"""The vulnerability check reports what it found, and never takes missing data for a clean result."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from tests.project.sources import ROOT

spec = importlib.util.spec_from_file_location("audit", ROOT / "lock/audit.py")
assert spec is not None
assert spec.loader is not None
audit = importlib.util.module_from_spec(spec)
spec.loader.exec_module(audit)

CLEAN = {"name": "clean", "version": "1.0", "vulns": []}
UNKNOWN = {"name": "unknown", "skip_reason": "not found"}
BAD = {"name": "bad", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}


@pytest.mark.parametrize(
    ("dependencies", "code", "said"),
    [
        ([CLEAN], 0, "1 packages audited, no known vulnerability"),
        ([CLEAN, UNKNOWN], 0, "not audited, unknown to the data source: unknown"),
        ([UNKNOWN], 3, "nothing was audited"),
        ([], 3, "nothing was audited"),
        ([CLEAN, UNKNOWN, BAD], 1, "bad 1.0: CVE-1, fixed in 1.1"),
    ],
)
def test_a_report_becomes_an_exit_code_and_lines(dependencies: list[Any], code: int, said: str) -> None:
    got, lines = audit.judge(dependencies)
    assert got == code
    assert said in "\n".join(lines)
