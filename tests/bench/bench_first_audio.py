"""Breakdown of the time from a request to its first audio, compared with the model steps that it needs.

A server with a checkpoint speaks short answers and logs the marks of each request. Between two answers of one
client the same steps run alone in a process without a server. Then several clients ask at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
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
    """`ways`: the marks of each answer, in ms; `firsts`: seconds to the first audio at the client.

    `crowds`: the marks by number of clients that ask at a time.
    """

    ways: list[dict[str, float]]
    firsts: list[float]
    thinker: Alone
    talker: Alone
    crowds: dict[int, list[dict[str, float]]]


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


def ask_together(url: str, voice: str, clients: int, answers: int) -> None:
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(partial(ask, url, voice), range(answers)))


def measure(checkpoint: Path, folder: Path, answers: int, crowds: Sequence[int]) -> Measured:
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
        counts = {clients: max(answers, 3 * clients) for clients in crowds}
        for clients, count in counts.items():
            ask_together(server.url, voice, clients, count)
            becomes(server.is_idle, 30)
    finally:
        terminate(server)
    ways = list(milestones(log))[WARM:]
    alone, rest = ways[:answers], iter(ways[answers:])
    together = {clients: list(islice(rest, count)) for clients, count in counts.items()}
    return Measured(alone, firsts[WARM:], thinker.alone(), talker.alone(), together)


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
    reached = {name: mean(way[name] for way in ways) for name, _ in WAY}
    # A Talker that computes its prompt ahead of its text is queued before it is asked for a frame.
    names = sorted(reached, key=lambda name: reached[name])
    before = [0.0, *(reached[name] for name in names)]
    return {name: reached[name] - at for name, at in zip(names, before, strict=False)}


def print_way(spans: dict[str, float], firsts: list[float]) -> None:
    named = dict(WAY)
    for name, span in spans.items():
        print(f"{span:9.2f} ms  {named[name]}")
    print(f"{sum(spans.values()):9.2f} ms  from the end of the head to the first audio in the socket")
    fastest = sorted(firsts)[: max(1, len(firsts) // 4)]
    print(f"{mean(fastest) * 1e3:9.2f} ms  at the client, including the connection")


def print_crowds(alone: list[dict[str, float]], crowds: dict[int, list[dict[str, float]]]) -> None:
    """Means over the middle half of the answers, in order of their first packet."""
    columns = {1: alone, **crowds}
    spans = {clients: spans_of(middle_half(ways)) for clients, ways in columns.items()}
    print("\nms, mean of the middle half" + "".join(f"{clients:>9}" for clients in columns) + "  clients")
    for name in next(iter(spans.values())):
        cells = "".join(f"{spans[clients][name]:9.1f}" for clients in columns)
        print(f"{dict(WAY)[name][:27]:27}{cells}")
    print(f"{'all':27}" + "".join(f"{sum(spans[clients].values()):9.1f}" for clients in columns))


def middle_half(ways: list[dict[str, float]]) -> list[dict[str, float]]:
    ordered = sorted(ways, key=lambda way: way["first_packet"])
    return ordered[len(ordered) // 4 : max(-(-3 * len(ordered) // 4), 1)]


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
    parser.add_argument("--clients", type=int, nargs="*", default=[4, 8])
    parser.add_argument("--model", type=Path, help="a checkpoint in place of the tiny one; one --family")
    given = parser.parse_args()
    for family in given.family:
        with TemporaryDirectory() as folder:
            checkpoint = given.model or Path(folder) / "tiny"
            if given.model is None:
                write_tiny_checkpoint(checkpoint, family)
            print(f"{family}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
            measured = measure(checkpoint, Path(folder), given.answers, given.clients)
            spans = spans_of(undisturbed(measured.ways))
            print_way(spans, measured.firsts)
            print_alone(spans, family, measured.thinker, measured.talker)
            print_crowds(measured.ways, measured.crowds)
            print(f"load {os.getloadavg()[0]:.1f} at the end\n", flush=True)


if __name__ == "__main__":
    main()
