"""The standing benchmark, `make bench`: text, speech and the server process, beside the last committed run.

Figures are ratios: to vLLM in the same run, or to a fixed computation on the same cores. They are written
after each part. Exit code 1: a figure got worse by more than its noise, or a part failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import psutil  # type: ignore[import-untyped]
from tests.bench.front_end.processes import exit_on_sigterm, free_port, wait_until_ready

LAST = Path(__file__).with_name("last.json")
SPEECH_LEVELS = (1, 4, 8)
_LEAST_NOISE = 0.05
_TEXT_NOISE = 0.1
# Three times what the longest command, text, takes on two idle cores.
_COMMAND_WITHIN_S = 600.0


@dataclass(frozen=True, slots=True)
class Figure:
    """`noise`: half the range of the ratio within its run, relative to it."""

    value: float
    noise: float
    better: Literal["lower", "higher"] = "lower"


Figures = dict[str, Figure]


@dataclass(frozen=True, slots=True)
class Size:
    """How much a run measures: pairs of turns of the two servers, and spoken answers per level."""

    text_rounds: int
    answers: int
    front_rounds: int


# "full" takes ten minutes; "small" shows that every part ends.
SIZES = {"full": Size(4, 24, 4), "small": Size(1, 3, 1)}
Measure = Callable[[Path, Size], Figures]


def measure_text(folder: Path, size: Size) -> Figures:
    """Ours to vLLM's, both compiled, with speech off."""
    flags = ("--modes", "compiled", "--stages", "thinker", "--rounds", str(size.text_rounds))
    (compared,) = run_command("tests.bench.bench_text", folder / "text.json", *flags)
    figures: Figures = {}
    for level in compared["levels"]:
        at, ratio = f"at {level['concurrency']}", level["ratio"]
        figures[f"text: tokens/s {at}"] = Figure(ratio["tokens_per_s"], _TEXT_NOISE, "higher")
        figures[f"text: time to first token {at}"] = Figure(ratio["ttft_p50_s"], _TEXT_NOISE)
    return figures


def measure_front_end(folder: Path, size: Size) -> Figures:
    """Ours to vLLM's front end, over the same echo."""
    flags = ("--rounds", str(size.front_rounds), "--seconds", "3")
    report = run_command("tests.bench.bench_front_end", folder / "front.json", *flags)
    return front_end_figures(report)


def front_end_figures(report: dict[str, Any]) -> Figures:
    names = {"cpu_us": "CPU per token", "p50_ms": "added latency, p50", "p99_ms": "added latency, p99"}
    figures = {}
    for key, name in names.items():
        ratio = report[f"ratio_{key}"]
        noise = (ratio["most"] - ratio["least"]) / 2 / ratio["median"]
        figures[f"server process: {name}"] = Figure(ratio["median"], noise)
    for key, name in {"stream_kb": "memory per stream", "request_ms": "CPU per request"}.items():
        value = report[key]["ours"] / report[key]["vllm"]
        figures[f"server process: {name}"] = Figure(value, _LEAST_NOISE)
    return figures


def measure_speech(folder: Path, size: Size) -> Figures:
    """The embedded model by default settings. Times are divided by the yardstick around the same level."""
    figures: Figures = {}
    with serving(folder / "serve.log") as url:
        for level in SPEECH_LEVELS:
            before_s = yardstick_s()
            flags = (url, "--concurrency", str(level), "--requests", str(size.answers), "--warmup", "2")
            report = run_command("antiphon_server", folder / f"speech{level}.json", "bench", *flags)
            figures |= _speech_figures(level, report["levels"][0], (before_s, yardstick_s()))
    return figures


def _speech_figures(level: int, report: dict[str, Any], yardsticks_s: tuple[float, float]) -> Figures:
    unit_s = sum(yardsticks_s) / 2
    drift = abs(yardsticks_s[0] - yardsticks_s[1]) / unit_s
    figures: Figures = {}
    for key, name in {"rtf": "real-time factor", "ttfa_s": "time to first audio"}.items():
        spread = report["latencies"][key]
        # The standard error of the median, from the distance of the quartile-like percentiles.
        noise = (spread["p90"] - spread["p50"]) / spread["p50"] / max(report["good"], 1) ** 0.5
        figures[f"speech: {name} at {level}, in yardsticks"] = Figure(spread["p50"] / unit_s, noise + drift)
    share = report["streams_with_underruns"] / max(report["good"], 1)
    # One answer more or less is chance.
    figures[f"speech: 1 + share with an underrun at {level}"] = Figure(1 + share, 1 / max(report["good"], 1))
    return figures


def yardstick_s() -> float:
    """The time of a fixed computation in float32: what this machine gives us at present."""
    left = np.ones((512, 512), np.float32)
    times = []
    for _ in range(40):
        began_s = time.perf_counter()
        left @ left
        times.append(time.perf_counter() - began_s)
    return median(times) * 1e3


def run_command(module: str, result: Path, *flags: str) -> Any:
    """Runs a benchmark that writes `result`, and returns what it has written. Raises RuntimeError."""
    with subprocess.Popen([sys.executable, "-m", module, *flags, "--json", str(result)]) as running:
        try:
            code = running.wait(_COMMAND_WITHIN_S)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{module} did not end within {_COMMAND_WITHIN_S:.0f} s") from None
        finally:
            _kill(running)
    if code:
        raise RuntimeError(f"{module} ended with exit code {code}")
    return json.loads(result.read_text())


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills a command that still runs, and the servers that it has started."""
    if process.poll() is None:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.kill()


@contextmanager
def serving(log: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "antiphon_server", "serve", "--port", str(port)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as server:
        try:
            wait_until_ready(port, server, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def is_worse(last: Figure, now: Figure) -> bool:
    """Whether `now` is worse by more than the noise of both runs."""
    noise = max(_LEAST_NOISE, last.noise + now.noise)
    growth = now.value / last.value if now.better == "lower" else last.value / now.value
    return growth > 1 + noise


def as_table(figures: Figures, last: Figures) -> str:
    """A Markdown table."""
    lines = ["| ratio | last | now | noise | |", "|---|---|---|---|---|"]
    for name, now in figures.items():
        before = last.get(name)
        shown = f"{before.value:.3g}" if before else ""
        verdict = "**worse**" if before and is_worse(before, now) else ""
        lines.append(f"| {name} | {shown} | {now.value:.3g} | {now.noise:.0%} | {verdict} |")
    return "\n".join(lines)


def read_figures(path: Path) -> Figures:
    if not path.exists():
        return {}
    return {name: Figure(**one) for name, one in json.loads(path.read_text())["figures"].items()}


PARTS: Mapping[str, Measure] = {
    "text": measure_text,
    "speech": measure_speech,
    "front": measure_front_end,
}


def run_parts(parts: Mapping[str, Measure], size: Size, last: Figures, result: Path | None) -> bool:
    """Measures each part. True: all have run, and no figure got worse."""
    figures: Figures = {}
    failed: list[str] = []
    with TemporaryDirectory() as folder:
        for name, measure in parts.items():
            began_s = time.monotonic()
            try:
                figures |= measure(Path(folder), size)
            # The other parts' figures took minutes too.
            except Exception as error:
                failed.append(name)
                print(f"\n{name} failed: {error!r}", flush=True)
            print(f"\n{name} took {time.monotonic() - began_s:.0f} s\n{as_table(figures, last)}", flush=True)
            if result is not None:
                write_figures(result, {**last, **figures})
    if failed:
        print(f"failed: {', '.join(failed)}")
    return not failed and not any(name in last and is_worse(last[name], now) for name, now in figures.items())


def write_figures(path: Path, figures: Figures) -> None:
    about = {"cores": len(os.sched_getaffinity(0)), "numpy": np.__version__}
    kept = {name: asdict(one) for name, one in figures.items()}
    path.write_text(json.dumps({"about": about, "figures": kept}, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--size", choices=SIZES, default="full", help="small: three minutes, to try it out")
    parser.add_argument("--keep", action="store_const", const=LAST, dest="json", help="write last.json")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    if given.json == LAST and given.size != "full":
        parser.error("--keep needs the full size: a single pair of turns is noise")
    exit_on_sigterm()
    parts = {name: PARTS[name] for name in given.parts.split(",")}
    return int(not run_parts(parts, SIZES[given.size], read_figures(LAST), given.json))


if __name__ == "__main__":
    raise SystemExit(main())
