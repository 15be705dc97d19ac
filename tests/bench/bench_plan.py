"""The memory plan against vLLM: blocks of both engines, of both families, in float32 and bfloat16.

Starts each pair of engines on this machine and reads the blocks that vLLM allocated. Each result is kept in a
folder, and a later run starts only those that are missing. Exits with 1 if a plan is off by more than 1 %.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.checkpoints import write_tiny_checkpoint

FAMILIES = ("qwen3_omni", "qwen3_5_omni")
# The checkpoints are in float32, which vLLM loads as bfloat16 unless `--dtype` says otherwise.
DTYPES = ("auto", "bfloat16", "float32")
MOST_OFF = 0.01
START_S = 300


async def compare(model: Path, dtype: str) -> list[dict[str, Any]]:
    """Planned and allocated blocks, and the tokens of a block, by engine."""
    from vllm.platforms import current_platform

    from antiphon_executor.checkpoint.family import read_config
    from antiphon_executor.engine.dtype_selection import with_cpu_dtypes
    from antiphon_executor.engine.omni_engine import start_engine
    from antiphon_executor.interface.settings import EngineSettings
    from antiphon_executor.planning.planner import plan_memory

    chosen = {"dtype": dtype}
    settings = EngineSettings(model=model, thinker=chosen, talker=chosen | {"streams": 4})
    config, on_cpu = read_config(model), current_platform.is_cpu()
    planned = with_cpu_dtypes(settings, config) if on_cpu else settings
    memory = current_platform.get_device_total_memory()
    plan = plan_memory(config, planned, memory, gpus=not on_cpu)
    engine = await start_engine(settings, lambda step: None)
    capacity = engine.card.capacity
    await engine.close()
    return [
        {
            "engine": planned_engine.name,
            "planned": planned_engine.blocks,
            # One block is vLLM's own.
            "allocated": cache.blocks + 1,
            "planned_tokens": planned_engine.pages.block_tokens,
            "block_tokens": cache.block_tokens,
        }
        for planned_engine, cache in zip(plan.engines, (capacity.thinker, capacity.talker), strict=True)
        if cache is not None
    ]


def main() -> int:
    given = _arguments()
    if given.start is not None:
        print(json.dumps(asyncio.run(compare(Path(given.start[0]), given.start[1]))))
        return 0
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for family, dtype in itertools.product(given.family, given.dtype):
            kept, model = given.out / f"{family}-{dtype}.json", Path(folder) / family
            if kept.exists() and not given.again:
                continue
            if not model.exists():
                write_tiny_checkpoint(model, family)
            kept.write_text(json.dumps(start(model, dtype), indent=1) + "\n")
    return report(given.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-plan", description=__doc__)
    parser.add_argument("--family", nargs="*", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--dtype", nargs="*", choices=DTYPES, default=DTYPES)
    parser.add_argument("--again", action="store_true", help="Also those that have been started before.")
    parser.add_argument("--out", type=Path, default=Path("build/plan"), help="The folder of the results.")
    parser.add_argument("--start", nargs=2, metavar=("CHECKPOINT", "DTYPE"), help=argparse.SUPPRESS)
    return parser.parse_args()


def report(folder: Path) -> int:
    """Prints all results of the folder. Returns the exit code."""
    worst = 0.0
    print(f"{'family':<14}{'dtype':<10}{'engine':<9}{'planned':>9}{'vLLM':>9}{'tokens a block':>16}")
    for kept in sorted(folder.glob("*.json")):
        family, dtype = kept.stem.rsplit("-", 1)
        for row in json.loads(kept.read_text()):
            off = abs(row["planned"] - row["allocated"]) / row["allocated"]
            worst = max(worst, off, float(row["planned_tokens"] != row["block_tokens"]))
            print(
                f"{family:<14}{dtype:<10}{row['engine']:<9}{row['planned']:>9}{row['allocated']:>9}"
                f"{row['block_tokens']:>16}"
            )
    print(f"off by at most {worst:.2%}")
    return int(worst > MOST_OFF)


def start(model: Path, dtype: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.bench.bench_plan", "--start", str(model), dtype]
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_S, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2_000:])
    rows: list[dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
