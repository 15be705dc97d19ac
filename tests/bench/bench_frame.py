"""Times the parts of a Talker step after its backbone, with the weights of antiphon-nano, on this machine.

With `--old` (the same packages of another checkout), both versions alternate in one run. It checks nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
BATCHES = (1, 4, 8)


def start(checkout: Path, threads: int) -> subprocess.Popen[str]:
    """A process that imports the packages of `checkout` and times one round for each line on stdin."""
    folders = (checkout / "model_executor", checkout / "kernels", checkout / "server", ROOT)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "OMP_NUM_THREADS": str(threads),
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "1024",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.bench.frame_parts"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
    )


def one_round(child: subprocess.Popen[str], batch: int) -> dict[str, float]:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(f"{batch}\n")
    child.stdin.flush()
    return dict(json.loads(child.stdout.readline()))


def rounds(versions: dict[str, subprocess.Popen[str]], count: int) -> Iterator[tuple[str, int, str, float]]:
    for number in range(count + 1):
        for batch in BATCHES:
            for name, child in versions.items():
                times = one_round(child, batch)
                if number:
                    yield from ((name, batch, part, ms) for part, ms in times.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", type=Path, help="another checkout, to compare with")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    for threads in given.threads:
        checkouts = ({"old": given.old} if given.old else {}) | {"new": ROOT}
        versions = {name: start(folder, threads) for name, folder in checkouts.items()}
        table: dict[tuple[int, str], dict[str, list[float]]] = {}
        for name, batch, part, ms in rounds(versions, given.rounds):
            table.setdefault((batch, part), {}).setdefault(name, []).append(ms)
        for child in versions.values():
            child.communicate("")
        print(f"\n{threads} thread(s): ms per step, median (best) of {given.rounds} rounds")
        for (batch, part), times in table.items():
            cells = "".join(f"{name:>6} {median(ms):7.2f} ({min(ms):6.2f})" for name, ms in times.items())
            print(f"{batch} streams  {part:12}{cells}", flush=True)


if __name__ == "__main__":
    main()
