"""Compares text answers of `vllm serve` and `antiphon serve` by `vllm bench serve`, in turn.

The client is vLLM's own code in this process; its requests are `openai-chat` with random prompts and
`ignore_eos`. Ratios are ours to vLLM's: the median over the rounds of one run. It checks nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench.bench_text import until_quiet
from tests.bench.text_servers import MODEL, Mode, Server, antiphon_server, vllm_server
from vllm.benchmarks.serve import add_cli_args, main_async
from vllm.utils.argparse_utils import FlexibleArgumentParser

from antiphon_executor.tiny import write_tiny_checkpoint

PROMPT, TOKENS = 24, 48
LEVELS = (1, 8, 32)
_REQUESTS = 8
# Shown name by the name in vLLM's results.
_FIGURES = {
    "output_throughput": "output tokens/s",
    "median_ttft_ms": "TTFT p50, ms",
    "p95_ttft_ms": "TTFT p95, ms",
    "median_tpot_ms": "time per token p50, ms",
}
Figures = dict[str, float]


def measure(server: Server, checkpoint: Path, seed: int, size: int, concurrency: int) -> Figures:
    """One run of `vllm bench serve`. Raises RuntimeError if a request failed.

    `seed`: of the prompts; no two runs of a server share one, so that no prefix cache answers.
    """
    parser = FlexibleArgumentParser()
    add_cli_args(parser)
    arguments = [
        "--backend", "openai-chat", "--endpoint", "/v1/chat/completions", "--base-url", server.url,
        "--model", MODEL, "--tokenizer", str(checkpoint), "--dataset-name", "random",
        "--random-input-len", str(PROMPT), "--random-output-len", str(TOKENS), "--seed", str(seed),
        "--num-prompts", str(size), "--max-concurrency", str(concurrency), "--disable-tqdm",
        "--temperature", "1", "--percentile-metrics", "ttft,tpot", "--metric-percentiles", "95",
    ]  # fmt: skip
    with redirect_stdout(StringIO()) as said:
        result: dict[str, Any] = asyncio.run(main_async(parser.parse_args(arguments)))
    if result["completed"] != size:
        raise RuntimeError(f"{server.name} answered {result['completed']} of {size}:\n{said.getvalue()}")
    return {name: float(result[name]) for name in _FIGURES}


def compare(mode: Mode, levels: Sequence[int], rounds: int, requests: int) -> list[str]:
    """Starts both servers, one after the other, and measures all levels: rows of a Markdown table."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        checkpoint = folder / "tiny"
        write_tiny_checkpoint(checkpoint)
        with (
            vllm_server(checkpoint, folder / "vllm.log", mode) as vllm,
            antiphon_server(checkpoint, folder / "antiphon.log", mode, "thinker") as ours,
        ):
            numbers = count()

            def run(server: Server, concurrency: int, first: int) -> Figures:
                size = max(requests, 2 * concurrency)
                # vLLM's worker polls for a second after its last step, and would take a core from the other.
                asyncio.run(until_quiet(ours, vllm))
                return measure(server, checkpoint, first, size, concurrency)

            for server in (vllm, ours):
                run(server, max(levels), next(numbers))
            rows = []
            for concurrency in levels:
                taken = []
                for number in range(rounds):
                    order = (vllm, ours) if number % 2 == 0 else (ours, vllm)
                    first = next(numbers)
                    taken.append({one.name: run(one, concurrency, first) for one in order})
                rows.append(_row(mode, concurrency, taken))
                print(rows[-1], file=sys.stderr, flush=True)
            return rows


def _row(mode: Mode, concurrency: int, taken: list[dict[str, Figures]]) -> str:
    cells = [mode, str(concurrency)]
    for name in _FIGURES:
        ours, vllm = ([one[server][name] for one in taken] for server in ("antiphon", "vllm"))
        ratio = statistics.median(a / b for a, b in zip(ours, vllm, strict=True))
        cells.append(f"**{ratio:.2f}** ({statistics.median(ours):.1f} / {statistics.median(vllm):.1f})")
    return f"| {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modes", default="eager")
    parser.add_argument("--levels", default=",".join(map(str, LEVELS)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=_REQUESTS)
    asked = parser.parse_args()
    levels = [int(level) for level in asked.levels.split(",")]
    modes: list[Mode] = [mode for mode in ("eager", "compiled") if mode in asked.modes.split(",")]
    rows = [row for mode in modes for row in compare(mode, levels, asked.rounds, asked.requests)]
    print(
        "\n".join(
            [f"| both | at once | {' | '.join(_FIGURES.values())} |", "|---|---|---|---|---|---|", *rows]
        )
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
