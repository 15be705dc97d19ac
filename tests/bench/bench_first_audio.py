"""Breakdown of the time from a request to its first audio, compared with the model steps that it needs.

A server with the tiny checkpoint speaks short answers and logs the marks of each request. Between two answers
the same steps run alone in a process without a server.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from tests.e2e.server_process import MODEL, becomes, start_server, terminate

from antiphon_executor.tiny import write_tiny_checkpoint

QUESTION = "Say hello to number {}."
WARM = 3
PARTS = ("backbone", "predictor", "vocoder")
PROMISED = 1.3
STEPS = ("thinker_first_token", "first_frame")
# Text tokens with which the Talker starts.
TEXT_FIRST = {"qwen3_omni": 1, "qwen3_5_omni": 4}
WAY = (
    ("body_read", "HTTP: the head's end to the body's"),
    ("planned", "JSON, checks, plan"),
    ("admitted", "a reservation"),
    ("rendered", "chat template, tokens"),
    ("started", "a slot"),
    ("thinker_queued", "to the Thinker's engine"),
    ("thinker_scheduled", "the Thinker's queue"),
    ("thinker_first_token", "STEP: the Thinker's prefill, first token"),
    ("talker_asked", "its answer back; more tokens where speech waits for them"),
    ("talker_queued", "to the Talker's engine"),
    ("talker_scheduled", "the Talker's queue"),
    ("first_frame", "STEP: the Talker's prefill, first frame; to the server"),
    ("first_sound", "the stream's queue"),
    ("first_packet", "encode, write to the socket"),
)


@dataclass
class Alone:
    """Step times of one stage without a server, in ms: means of the fastest quarter.

    `first`: the first step of a request; `later`: the others.
    """

    first: dict[str, float] = field(default_factory=dict)
    later: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """`ways`: the marks of each answer, in ms; `firsts`: seconds to the first audio at the client."""

    ways: list[dict[str, float]]
    firsts: list[float]
    thinker: Alone
    talker: Alone


def ask(url: str, voice: str, number: int) -> float:
    """Seconds to the first audio at the client, including the connection and the request."""
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": QUESTION.format(number)}],
        "modalities": ["text", "audio"],
        "audio": {"voice": voice, "format": "pcm16"},
        "stream": True,
        "temperature": 0,
        "seed": number,
        "max_tokens": 12,
    }
    began, first = time.monotonic(), 0.0
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=120, verify=False) as answer:
        answer.raise_for_status()
        for piece in answer.iter_raw():
            if not first and b'"data"' in piece:
                first = time.monotonic() - began
    return first


def milestones(log: Path) -> Iterator[dict[str, float]]:
    for line in log.read_text(errors="replace").splitlines():
        if '"message": "milestones"' in line:
            yield {name[:-3]: ms for name, ms in json.loads(line).items() if name.endswith("_ms")}


def measure(checkpoint: Path, folder: Path, answers: int) -> Measured:
    """Alternates served answers with the same steps alone, so that other load affects both."""
    log = folder / "log"
    server = start_server(checkpoint, log, "--logs.milestones", "--logs.format", "json", "--dtype", "auto")
    firsts: list[float] = []
    try:
        voice = server.get("/v1/audio/voices").json()["voices"][0]["id"]
        with steps_alone(checkpoint, "thinker") as thinker, steps_alone(checkpoint, "talker") as talker:
            for number in range(WARM + answers):
                firsts.append(ask(server.url, voice, number))
                becomes(server.is_idle, 10)
                thinker.take()
                talker.take()
    finally:
        terminate(server)
    return Measured(list(milestones(log))[WARM:], firsts[WARM:], thinker.alone(), talker.alone())


def undisturbed(ways: list[dict[str, float]]) -> list[dict[str, float]]:
    """The fastest quarter, because other load on the machine can only delay an answer."""
    ordered = sorted(ways, key=lambda way: way["first_packet"])
    return ordered[: max(1, len(ordered) // 4)]


class StepsAlone:
    """One engine in its own process, which runs one request per line on its standard input."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._requests: list[list[dict[str, Any]]] = []

    def take(self) -> None:
        """Runs one request."""
        assert self._process.stdin is not None
        self._process.stdin.write("once\n")
        self._process.stdin.flush()
        self._requests.append(json.loads(self.read()))

    def read(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(("ready", "[{")):
                return line
        raise SystemExit("the engine alone has ended")

    def alone(self) -> Alone:
        requests = self._requests[WARM:]
        first, later = [one[0] for one in requests], [step for one in requests for step in one[1:]]
        return Alone(_undisturbed(first), _undisturbed(later))


@contextmanager
def steps_alone(checkpoint: Path, stage: str) -> Iterator[StepsAlone]:
    command = [sys.executable, "-m", "tests.bench.model_steps", str(checkpoint), stage, QUESTION.format(1)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        steps = StepsAlone(process)
        try:
            steps.read()
            yield steps
        finally:
            process.kill()


def _undisturbed(steps: list[dict[str, Any]]) -> dict[str, float]:
    flat = [{"step": step["step_ms"], "model": step["model_ms"], **step["parts"]} for step in steps]
    flat.sort(key=lambda step: step["step"])
    fastest = flat[: max(1, len(flat) // 4)]
    return {name: mean(step.get(name, 0.0) for step in fastest) for name in flat[0]}


def spans_of(ways: list[dict[str, float]]) -> dict[str, float]:
    """The time from the previous mark to each mark, in ms. The sum is the total time."""
    reached = [0.0, *(mean(way[name] for way in ways) for name, _ in WAY)]
    names = [name for name, _ in WAY]
    return {name: at - before for name, before, at in zip(names, reached, reached[1:], strict=False)}


def print_way(spans: dict[str, float], firsts: list[float]) -> None:
    for name, what in WAY:
        print(f"{spans[name]:9.2f} ms  {what}")
    print(f"{sum(spans.values()):9.2f} ms  from the end of the head to the first audio in the socket")
    fastest = sorted(firsts)[: max(1, len(firsts) // 4)]
    print(f"{mean(fastest) * 1e3:9.2f} ms  at the client, including the connection")


def print_alone(spans: dict[str, float], family: str, thinker: Alone, talker: Alone) -> None:
    tokens, total = TEXT_FIRST[family] - 1, sum(spans.values())
    print(f"\n{'alone':35} {'engine step':>12} {'model in it':>12}")
    rows = [("the Thinker's prefill", thinker.first, 1), ("a token more", thinker.later, tokens)]
    rows.append(("the Talker's prefill, a frame", talker.first, 1))
    sums = {"step": 0.0, "model": 0.0}
    for name, figures, times in rows:
        if times:
            print(f"{times} x {name:31} {figures['step']:9.2f} ms {figures['model']:9.2f} ms")
            sums = {key: sums[key] + times * figures[key] for key in sums}
    print(f"{'sum':35} {sums['step']:9.2f} ms {sums['model']:9.2f} ms")
    parts = ", ".join(f"{name} {talker.first.get(name, 0):.2f}" for name in PARTS)
    print(f"the Talker's model is {parts} ms; a later frame takes {talker.later['step']:.2f} ms")
    ratio = total / sums["step"]
    print(f"first sound over the steps: {ratio:.2f} (over the bare model: {total / sums['model']:.2f})")
    if ratio > PROMISED:
        print_reason(spans, sums["step"], tokens * thinker.later["step"])


def print_reason(spans: dict[str, float], steps_ms: float, text_ms: float) -> None:
    """Splits the excess into slower steps beside the other engine, and the time between the steps.

    `text_ms`: the time of the Thinker's further tokens alone; in the server it lies between the steps.
    """
    stepping = sum(spans[name] for name in STEPS) + text_ms
    between = sum(spans.values()) - stepping
    print(
        f"above {PROMISED}: the steps take {steps_ms:.0f} ms alone, and {stepping:.0f} ms beside the other\n"
        f"engine and the server on {os.cpu_count()} cores; {between:.0f} ms lie between them with any model:"
    )
    print(f"the limit allows undisturbed steps of {between / (PROMISED - 1):.0f} ms in total")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", choices=tuple(TEXT_FIRST), nargs="+", default=list(TEXT_FIRST))
    parser.add_argument("--answers", type=int, default=32)
    given = parser.parse_args()
    for family in given.family:
        with TemporaryDirectory() as folder:
            checkpoint = Path(folder) / "tiny"
            write_tiny_checkpoint(checkpoint, family)
            print(f"{family}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
            measured = measure(checkpoint, Path(folder), given.answers)
            spans = spans_of(undisturbed(measured.ways))
            print_way(spans, measured.firsts)
            print_alone(spans, family, measured.thinker, measured.talker)
            print(f"load {os.getloadavg()[0]:.1f} at the end\n", flush=True)


if __name__ == "__main__":
    main()
