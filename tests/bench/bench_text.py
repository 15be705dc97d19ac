"""Compares text answers of `vllm serve` and `antiphon serve`: the same requests, in turn, on one checkpoint.

Ratios are ours to vLLM's: the median over the rounds of one run. It checks nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, get_args

from tests.bench.front_end.processes import exit_on_sigterm
from tests.bench.text_load import LevelFigures, request_body, run_level
from tests.bench.text_servers import MODEL, Mode, Server, Stages, antiphon_server, vllm_server

from antiphon_executor.tiny import write_tiny_checkpoint

TOKENS = 48
LEVELS = (1, 8, 32)
# Answers in flight at the same time have this much to do per round, at least.
_REQUESTS = 6
_IDLE_S = 1.0
# vLLM's worker polls for a second after its last step, and would take a core from the other server's round.
_QUIET_CORES = 0.1
_QUIET_S = 0.3
_QUIET_WITHIN_S = 10.0
_TIMES = ("ttft_p50_s", "ttft_p95_s", "token_p50_s", "gap_p95_s")


@dataclass(frozen=True, slots=True)
class LevelComparison:
    """`ours`, `vllm`: medians over the rounds. `ratio`: the median of each round's ratio, ours to vLLM's."""

    concurrency: int
    ours: LevelFigures
    vllm: LevelFigures
    ratio: LevelFigures


@dataclass(frozen=True, slots=True)
class TextComparison:
    """One pair of servers. `idle_cpu`: cores that both together use while nothing is asked."""

    mode: Mode
    stages: Stages
    levels: tuple[LevelComparison, ...]
    ours_ready_s: float
    vllm_ready_s: float
    idle_cpu: float


def compare_text(
    mode: Mode,
    stages: Stages,
    levels: Sequence[int] = LEVELS,
    rounds: int = 4,
    requests: int = _REQUESTS,
    logs: Path | None = None,
) -> TextComparison:
    """Starts both servers, one after the other, and measures all levels. Two minutes by default.

    `requests`: of a round at one server, per level: at least two for each client.
    """
    with TemporaryDirectory() as folder:
        logs = logs or Path(folder)
        checkpoint = Path(folder) / "tiny"
        write_tiny_checkpoint(checkpoint)
        with (
            vllm_server(checkpoint, logs / "vllm.log", mode) as vllm,
            antiphon_server(checkpoint, logs / "antiphon.log", mode, stages) as ours,
        ):
            return asyncio.run(_compare(mode, stages, ours, vllm, levels, rounds, requests))


async def _compare(
    mode: Mode,
    stages: Stages,
    ours: Server,
    vllm: Server,
    levels: Sequence[int],
    rounds: int,
    requests: int,
) -> TextComparison:
    numbers = count()

    async def measure(server: Server, concurrency: int, size: int, first: int) -> LevelFigures:
        bodies = [request_body(MODEL, first + number, TOKENS) for number in range(size)]
        await until_quiet(ours, vllm)
        return await run_level(server.url, bodies, concurrency, TOKENS)

    for server in (vllm, ours):
        for concurrency in (1, *levels):
            await measure(server, concurrency, 2 * concurrency, next(numbers) * 1000)
    idle_cpu = _idle_cpu(ours, vllm)
    compared = []
    for concurrency in levels:
        size = max(requests, 2 * concurrency)
        taken = []
        for number in range(rounds):
            first = next(numbers) * 1000
            order = (vllm, ours) if number % 2 == 0 else (ours, vllm)
            taken.append({one.name: await measure(one, concurrency, size, first) for one in order})
        compared.append(_level(concurrency, taken))
    return TextComparison(mode, stages, tuple(compared), ours.ready_s, vllm.ready_s, idle_cpu)


class _Computes(Protocol):
    def cpu_s(self) -> float: ...


async def until_quiet(*servers: _Computes) -> None:
    """Returns when no server works any more on what it was asked before."""
    deadline_s = time.monotonic() + _QUIET_WITHIN_S
    while time.monotonic() < deadline_s:
        before_s = sum(server.cpu_s() for server in servers)
        await asyncio.sleep(_QUIET_S)
        if sum(server.cpu_s() for server in servers) - before_s < _QUIET_CORES * _QUIET_S:
            return
    raise RuntimeError(f"the servers still compute {_QUIET_WITHIN_S:.0f} s after their last answer")


def _idle_cpu(*servers: Server) -> float:
    before = sum(server.cpu_s() for server in servers)
    time.sleep(_IDLE_S)
    return (sum(server.cpu_s() for server in servers) - before) / _IDLE_S


def _level(concurrency: int, taken: list[dict[str, LevelFigures]]) -> LevelComparison:
    def median_of(figure: Callable[[dict[str, LevelFigures], str], float]) -> LevelFigures:
        names = [field.name for field in fields(LevelFigures)]
        return LevelFigures(*(statistics.median(figure(one, name) for one in taken) for name in names))

    return LevelComparison(
        concurrency,
        ours=median_of(lambda one, name: getattr(one["antiphon"], name)),
        vllm=median_of(lambda one, name: getattr(one["vllm"], name)),
        ratio=median_of(lambda one, name: _ratio(getattr(one["antiphon"], name), getattr(one["vllm"], name))),
    )


def _ratio(ours: float, vllm: float) -> float:
    """Infinite for a time of 0: tokens whose text came in one piece."""
    return ours / vllm if vllm else math.inf


def as_table(compared: Sequence[TextComparison]) -> str:
    """A Markdown table: ratios, and in brackets ours / vLLM's."""
    lines = [
        "| both | stages | at once | output tokens/s | TTFT p50 | TTFT p95 | time per token | gap p95 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in compared:
        for level in one.levels:
            ours, vllm, ratio = level.ours, level.vllm, level.ratio
            speed = f"**{ratio.tokens_per_s:.2f}** ({ours.tokens_per_s:.0f} / {vllm.tokens_per_s:.0f})"
            times = [
                _in_ms(getattr(ratio, name), getattr(ours, name), getattr(vllm, name)) for name in _TIMES
            ]
            cells = [one.mode, one.stages, str(level.concurrency), speed, *times]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _in_ms(ratio: float, ours_s: float, vllm_s: float) -> str:
    return f"{ratio:.2f} ({1e3 * ours_s:.1f} / {1e3 * vllm_s:.1f} ms)"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modes", default="eager,compiled")
    parser.add_argument("--stages", default="thinker,both")
    parser.add_argument("--levels", default=",".join(map(str, LEVELS)))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--requests", type=int, default=_REQUESTS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--logs", type=Path)
    asked = parser.parse_args()
    exit_on_sigterm()
    levels = [int(level) for level in asked.levels.split(",")]
    compared = []
    for mode in [mode for mode in get_args(Mode) if mode in asked.modes.split(",")]:
        for stages in [stages for stages in get_args(Stages) if stages in asked.stages.split(",")]:
            compared.append(compare_text(mode, stages, levels, asked.rounds, asked.requests, asked.logs))
            one = compared[-1]
            print(as_table([one]), file=sys.stderr, flush=True)
            print(
                f"ready: ours {one.ours_ready_s:.1f} s, vLLM {one.vllm_ready_s:.1f} s; ",
                end="",
                file=sys.stderr,
            )
            print(f"idle: {one.idle_cpu:.2f} cores", file=sys.stderr, flush=True)
    print(as_table(compared))
    if asked.json:
        asked.json.write_text(json.dumps([asdict(one) for one in compared], indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
