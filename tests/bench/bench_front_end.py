"""Compares the server process with vLLM's front end: 1,000 idle and 200 active text streams, the same echo.

Both servers run at the same time, each on core 0, and are measured in turn; the clients use the other
cores. Prints one table; `--json FILE` writes its figures. Ratios are of pairs of windows; the median counts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil  # type: ignore[import-untyped]
import uvloop
from tests.bench.front_end.processes import free_port, wait_until_ready
from tests.bench.front_end.scheduled_outputs import IDLE_SEED
from tests.bench.front_end.text_streams import Latencies, close_streams, open_streams, request_bytes

from antiphon_executor.tiny import write_tiny_checkpoint

SERVERS = ("ours", "vllm")
# Longer than a window, and within the context.
_LONG = 4_000
_SETTLE_S = 1.0


@dataclass(frozen=True, slots=True)
class Window:
    """One measurement of one server. `cpu_us`: of the server process, per token that reached a client."""

    cpu_us: float
    p50_ms: float
    p99_ms: float
    tokens_per_s: float
    busy: float


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def memory_bytes(self) -> int:
        return int(self.process.memory_full_info().uss)


@contextlib.contextmanager
def running(name: str, checkpoint: Path, step_s: float, log: Path) -> Iterator[Server]:
    port = free_port()
    module = "tests.bench.front_end." + {"ours": "our_server", "vllm": "vllm_server"}[name]
    command = [sys.executable, "-m", module, str(checkpoint), str(step_s), str(port)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as child:
        try:
            wait_until_ready(port, child, log)
            yield Server(name, port, psutil.Process(child.pid))
        finally:
            child.kill()


async def measure(server: Server, active: int, seconds: float) -> Window:
    """Opens `active` streams, and measures the server once all of them run."""
    latencies = Latencies()
    streams = await open_streams(server.port, active, request_bytes(_LONG, 0), latencies)
    await asyncio.sleep(_SETTLE_S)
    latencies.clear()
    cpu_s, began_s = server.cpu_s(), time.monotonic()
    await asyncio.sleep(seconds)
    cpu_s, took_s = server.cpu_s() - cpu_s, time.monotonic() - began_s
    delays_s = sorted(latencies.delays_s)
    await close_streams(streams)
    await asyncio.sleep(_SETTLE_S / 2)
    return Window(
        cpu_us=cpu_s * 1e6 / len(delays_s),
        p50_ms=delays_s[len(delays_s) // 2] * 1e3,
        p99_ms=delays_s[len(delays_s) * 99 // 100] * 1e3,
        tokens_per_s=len(delays_s) / took_s,
        busy=cpu_s / took_s,
    )


async def request_cost_ms(server: Server, count: int) -> float:
    """CPU milliseconds of the server for a whole request with one token."""
    cpu_s = server.cpu_s()
    for _ in range(count // 20):
        streams = await open_streams(server.port, 20, request_bytes(1, 0), Latencies())
        await asyncio.gather(*(one.ended for one in streams))
    return (server.cpu_s() - cpu_s) * 1e3 / count


async def compare(servers: list[Server], given: argparse.Namespace) -> dict[str, object]:
    report: dict[str, object] = {"settings": {**vars(given), "json": None}}
    for server in servers:
        await request_cost_ms(server, 100)
    report["request_ms"] = {one.name: await request_cost_ms(one, 400) for one in servers}
    stream_bytes: dict[str, float] = {}
    idle_cpu: dict[str, float] = {}
    for server in servers:
        # Memory that is freed and used again is not counted: the first streams warm the allocator.
        await close_streams(await open_streams(server.port, 200, request_bytes(2, IDLE_SEED), Latencies()))
        await asyncio.sleep(_SETTLE_S)
        before = server.memory_bytes()
        await open_streams(server.port, given.idle, request_bytes(2, IDLE_SEED), Latencies())
        await asyncio.sleep(_SETTLE_S)
        stream_bytes[server.name] = (server.memory_bytes() - before) / max(given.idle, 1)
    report["stream_kb"] = {name: size / 1e3 for name, size in stream_bytes.items()}
    before_s = {one.name: one.cpu_s() for one in servers}
    await asyncio.sleep(given.seconds)
    for one in servers:
        idle_cpu[one.name] = (one.cpu_s() - before_s[one.name]) / given.seconds
    report["idle_busy"] = idle_cpu
    windows: dict[str, list[Window]] = {name: [] for name in SERVERS}
    for number in range(given.rounds):
        for server in servers if number % 2 == 0 else reversed(servers):
            windows[server.name].append(await measure(server, given.active, given.seconds))
    report["windows"] = {name: [asdict(one) for one in some] for name, some in windows.items()}
    pairs = list(zip(windows["ours"], windows["vllm"], strict=True))
    for figure in ("cpu_us", "p50_ms", "p99_ms", "tokens_per_s"):
        ratios = [getattr(ours, figure) / getattr(theirs, figure) for ours, theirs in pairs]
        report[f"ratio_{figure}"] = {"median": median(ratios), "least": min(ratios), "most": max(ratios)}
    return report


def show(report: dict[str, object]) -> None:
    settings = report["settings"]
    assert isinstance(settings, dict)
    rate = 1 / settings["step_s"]
    print(f"{settings['idle']} idle and {settings['active']} active streams, {rate:g} tokens/s each")
    for name in ("request_ms", "stream_kb", "idle_busy"):
        figures = report[name]
        assert isinstance(figures, dict)
        ours, theirs = figures["ours"], figures["vllm"]
        print(f"{name:14} ours {ours:9.3f}  vllm {theirs:9.3f}  ratio {ours / theirs if theirs else 0:.2f}")
    windows = report["windows"]
    assert isinstance(windows, dict)
    for figure in Window.__slots__:
        ours, theirs = ([one[figure] for one in windows[name]] for name in SERVERS)
        ratio = report.get(f"ratio_{figure}")
        shown = ""
        if isinstance(ratio, dict):
            shown = f"  ratio {ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['most']:.2f})"
        print(f"{figure:14} ours {median(ours):9.3f}  vllm {median(theirs):9.3f}{shown}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench_front_end", description=__doc__)
    parser.add_argument("--idle", type=int, default=1_000)
    parser.add_argument("--active", type=int, default=200)
    parser.add_argument("--step-s", type=float, default=0.05)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_const", dest="rounds", const=2, help="20 s")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> int:
    given = arguments()
    with TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        checkpoint = Path(folder) / "tiny"
        write_tiny_checkpoint(checkpoint)
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[0]})
        servers = [
            stack.enter_context(running(name, checkpoint, given.step_s, Path(folder) / f"{name}.log"))
            for name in SERVERS
        ]
        os.sched_setaffinity(0, set(cores[1:] or cores))
        report = uvloop.run(compare(servers, given))
    show(report)
    if given.json:
        given.json.write_text(json.dumps(report, indent=1, default=str))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
