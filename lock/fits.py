"""Whether the packages of a lock fit together, by pip's own report of a dry run: `fits.py REPORT`.

The installation takes the lock as it is, without a resolver, so this reads what each package asks for.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from update import NEVER


def problems(report: dict[str, Any]) -> list[str]:
    """One line for each requirement that the report's packages do not meet."""
    packages = {canonicalize_name(one["metadata"]["name"]): one["metadata"] for one in report["install"]}
    found: list[str] = []
    seen: set[tuple[str, str]] = set()
    waiting = [(name, "") for name in packages]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for needed in _needs(packages[name], extra, report["environment"]):
            other = canonicalize_name(needed.name)
            if other in NEVER:
                continue
            version = packages.get(other, {}).get("version")
            if version is None or not needed.specifier.contains(version, prereleases=True):
                found.append(f"{name} needs {needed}, and the lock has {version or 'none'}")
            else:
                waiting += [(other, one) for one in needed.extras]
    return found


def _needs(metadata: dict[str, Any], extra: str, environment: dict[str, str]) -> Iterator[Requirement]:
    for text in metadata.get("requires_dist", ()):
        needed = Requirement(text)
        if needed.marker is None or needed.marker.evaluate({**environment, "extra": extra}):
            yield needed


def main(path: str) -> int:
    report = json.loads(Path(path).read_text())
    found = problems(report)
    sys.stdout.write("".join(f"{line}\n" for line in found))
    sys.stdout.write(f"{len(report['install'])} packages, {len(found)} requirements that they do not meet\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
