"""`make soak`: a mixed load for a while; the resources of the server's processes must not grow meanwhile.

Out: text on stdout, a JSON report if requested, and 1 if something grew. A warm-up first compiles matrix
products and fills allocators. KV caches are in memory from the start, because vLLM writes them on a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory

from prometheus_client.parser import text_string_to_metric_families

from antiphon_executor.tiny import write_tiny_checkpoint
from tests.chaos.mixed_load import Load, People
from tests.chaos.slope import per_minute
from tests.chaos.verdict import Verdict, broken
from tests.chaos.vitals import FEW_COMPILED, Vitals, grown, quarters_of, vitals_of
from tests.e2e.live_stream import talker_process
from tests.e2e.recordings import make_recordings
from tests.e2e.server_process import RunningServer, becomes, start_server

MOST_MIB_PER_MINUTE = 1.0
EVERY_S = 5.0
# Small enough that the server fits beside other processes on a small machine.
SMALL_CACHES = (
    *("--engine.thinker.kv-cache-memory-bytes", str(96 << 20)),
    *("--engine.talker.kv-cache-memory-bytes", str(128 << 20)),
)


@dataclass(frozen=True)
class SoakReport:
    """`memory_mib_per_minute`: of the processes that ran all the time, by name and in total;
    `memory_mib_quarters`: their means in each quarter of the run.

    `lag_s`: bound of the event loop's lag (99th percentile). `answer_s_thirds`: the median time of an
    answer in the first and in the last third of the run.
    """

    warm_up_minutes: float
    minutes: float
    load_average: float
    answers: int
    left: int
    refused: int
    memory_mib_per_minute: dict[str, float]
    memory_mib_quarters: dict[str, list[float]]
    lag_s: float
    answer_s_thirds: tuple[float, float]
    verdicts: list[Verdict]

    def __str__(self) -> str:
        slopes = ", ".join(f"{name} {slope:+.2f}" for name, slope in self.memory_mib_per_minute.items())
        quarters = "; ".join(
            f"{name} {' '.join(f'{mib:.1f}' for mib in means)}"
            for name, means in self.memory_mib_quarters.items()
        )
        return "\n".join(
            (
                f"{self.minutes:.1f} min of mixed load behind {self.warm_up_minutes:.1f} min of warm-up "
                f"(machine load {self.load_average:.1f}): "
                f"{self.answers} answers, {self.left} clients left, {self.refused} were refused",
                f"MiB a minute: {slopes}",
                f"MiB by quarter: {quarters}",
                f"event loop at most {self.lag_s * 1e3:.0f} ms late, 99 of 100 times; an answer "
                f"took {self.answer_s_thirds[0]:.2f} s in the first third, {self.answer_s_thirds[1]:.2f} s "
                "in the last",
                *map(str, self.verdicts),
            )
        )


def soak(server: RunningServer, warm_up: float, minutes: float, clients: int) -> SoakReport:
    """`warm_up`, then `minutes`, under the same load."""
    with People(server, clients, make_recordings()) as load:
        time.sleep(warm_up * 60)
        warm = len(load.took_s)
        steady = _watch(server, minutes * 60)
    slopes, seconds = memory_slopes(server, steady), load.took_s[warm:]
    third = max(1, len(seconds) // 3)
    return SoakReport(
        warm_up_minutes=warm_up,
        minutes=minutes,
        load_average=os.getloadavg()[2],
        answers=load.answers,
        left=load.left,
        refused=load.refused,
        memory_mib_per_minute=slopes,
        memory_mib_quarters={
            name_of(server, pid): [mean(one.held_mib[pid] for one in part) for part in quarters_of(steady)]
            for pid in lasting(steady)
        },
        lag_s=loop_lag_s(server, 0.99),
        answer_s_thirds=(median(seconds[:third] or [0]), median(seconds[-third:] or [0])),
        verdicts=[_on_memory(slopes["all"], steady), *grown(steady), *_on_answers(server, load)],
    )


def _on_memory(mib_per_minute: float, steady: list[Vitals]) -> Verdict:
    first, last = steady[0], steady[-1]
    return Verdict(
        f"memory grows by less than {MOST_MIB_PER_MINUTE:g} MiB a minute",
        mib_per_minute < MOST_MIB_PER_MINUTE,
        f"{mib_per_minute:+.2f} over {(last.at_s - first.at_s) / 60:.1f} minutes, "
        f"{first.memory_mib:.0f} → {last.memory_mib:.0f} MiB",
    )


def _on_answers(server: RunningServer, load: Load) -> list[Verdict]:
    idle = becomes(server.is_idle, 5)
    ended = f"{load.answers} whole, {len(load.broken)} otherwise {'; '.join(load.broken[:3])}"
    return [
        Verdict("each answer ends whole", not load.broken, ended),
        Verdict("nothing is held afterwards", idle, "idle" if idle else str(server.metrics())),
    ]


def _watch(server: RunningServer, seconds: float) -> list[Vitals]:
    seen: list[Vitals] = []
    until = time.monotonic() + seconds
    while not seen or time.monotonic() < until:
        seen.append(vitals_of(server))
        time.sleep(EVERY_S)
    return seen


def memory_slopes(server: RunningServer, steady: list[Vitals]) -> dict[str, float]:
    """Without decoders: each lives for one job, and `processes` counts them."""
    at_s = [one.at_s for one in steady]
    slopes = {
        name_of(server, pid): per_minute(at_s, [one.held_mib[pid] for one in steady])
        for pid in lasting(steady)
    }
    slopes["all"] = sum(slopes.values())
    return slopes


def lasting(steady: list[Vitals]) -> list[int]:
    """Processes that ran all the time, by id."""
    return sorted(set.intersection(*(set(one.held_mib) for one in steady)))


def name_of(server: RunningServer, pid: int) -> str:
    if pid == server.process.pid:
        return "server"
    if pid == talker_process(server).pid:
        return "talker"
    name: str = server.seen[pid].name()
    return f"{'thinker' if name.startswith('VLLM') else name} {pid}"


def loop_lag_s(server: RunningServer, share: float) -> float:
    """The upper bound of the bucket below which `share` of the event loop's lags lie, since the start."""
    buckets = [
        (float(sample.labels["le"]), sample.value)
        for family in text_string_to_metric_families(server.get("/metrics").text)
        for sample in family.samples
        if sample.name == "antiphon_event_loop_lag_seconds_bucket"
    ]
    total = max(count for _, count in buckets)
    return min(edge for edge, count in buckets if count >= share * total)


def main(start: Callable[..., RunningServer] = start_server) -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--family", default="qwen3_omni", choices=("qwen3_omni", "qwen3_5_omni"))
    parser.add_argument("--warm-up", type=float, default=4, metavar="MINUTES", help="before the run")
    parser.add_argument("--minutes", type=float, default=15, help="of the run")
    parser.add_argument("--clients", type=int, default=3, help="people at a time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there too")
    given = parser.parse_args()
    # On SIGTERM the run ends its servers, which have sessions of their own.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ |= FEW_COMPILED
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "tiny"
        write_tiny_checkpoint(checkpoint, given.family)
        server = start(checkpoint, Path(folder) / "log", *SMALL_CACHES)
        try:
            report = soak(server, given.warm_up, given.minutes, given.clients)
        finally:
            server.end()
    print(report, flush=True)
    if given.json:
        given.json.write_text(json.dumps(asdict(report), indent=2) + "\n")
    return 1 if broken(report.verdicts) else 0


if __name__ == "__main__":
    raise SystemExit(main())
