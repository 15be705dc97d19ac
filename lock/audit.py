"""Asks pip-audit for known vulnerabilities of every locked package, and judges its answers.

Run with the Python of an environment that has pip-audit: `audit.py LOCK...`. Exit codes: 0 none known,
1 some known, 3 no vulnerability data at hand (no network, or an index without them).
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

_FOUND, _NO_DATA = 1, 3


def judge(dependencies: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """Exit code and lines to print, from the `dependencies` of pip-audit's JSON report."""
    lines = [
        f"{one['name']} {one['version']}: {bug['id']}, fixed in {', '.join(bug['fix_versions']) or 'none'}"
        for one in dependencies
        for bug in one.get("vulns", ())
    ]
    if lines:
        return _FOUND, lines
    unknown = sorted(one["name"] for one in dependencies if "skip_reason" in one)
    if len(unknown) == len(dependencies):
        return _NO_DATA, ["no vulnerability data at hand: nothing was audited"]
    audited = f"{len(dependencies) - len(unknown)} packages audited, no known vulnerability"
    return 0, [audited, *(f"not audited, unknown to the data source: {name}" for name in unknown)]


def main(locks: list[str]) -> int:
    dependencies: list[dict[str, Any]] = []
    for lock in locks:
        command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--format", "json"]
        done = subprocess.run([*command, "--requirement", lock], capture_output=True, text=True, check=False)
        if not done.stdout.startswith("{"):
            sys.stderr.write(done.stderr)
            return _NO_DATA
        dependencies += json.loads(done.stdout)["dependencies"]
    code, lines = judge(dependencies)
    sys.stdout.write("\n".join(lines) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
