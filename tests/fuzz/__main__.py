"""`make fuzz`: each target for a minute (ARGS="--seconds 600 http_bytes"). Exit code 1 if one fails."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.chaos.verdict import Verdict, broken
from tests.conformance.homes import ATHERIS
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS
from tests.project.sources import ROOT

_LAST_LINES = 25


def fuzz(name: str, seconds: int) -> Verdict:
    """In a process of its own, from seeds that are valid."""
    with TemporaryDirectory() as folder:
        seeds = Path(folder, "seeds")
        seeds.mkdir()
        for number, seed in enumerate(SEEDS[name]):
            (seeds / str(number)).write_bytes(seed)
        options = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=2048"]
        command = [sys.executable, "-m", "tests.fuzz.guided", name, *options, f"-artifact_prefix={folder}/"]
        done = subprocess.run(
            [*command, str(seeds)],
            cwd=ROOT,
            env=ATHERIS.environment(),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    said = done.stdout + done.stderr
    if done.returncode:
        print("\n".join(said.splitlines()[-_LAST_LINES:]))
    runs = re.findall(r"Done (\d+) runs", said)
    covered = re.findall(r"cov: (\d+)", said)
    counted = f"{int(runs[-1]) if runs else 0:,} inputs, {covered[-1] if covered else 0} edges of code"
    return Verdict(name, done.returncode == 0 and bool(runs), counted)


def main() -> int:
    parser = argparse.ArgumentParser("make fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=60, help="of each target [60]")
    given = parser.parse_args()
    ATHERIS.install()
    verdicts = []
    for name in given.targets or TARGETS:
        verdicts.append(fuzz(name, given.seconds))
        print(verdicts[-1], flush=True)
    return int(bool(broken(verdicts)))


if __name__ == "__main__":
    raise SystemExit(main())
