"""Benchmark: `--engine.deterministic`: how many of 100 answers at mixed load equal those alone, and its cost.

The same questions to a server without and with it, one after the other; spoken and streamed. Run it alone on
the machine. `--model`: a checkpoint's folder; antiphon-nano and a tiny Qwen3-Omni by default.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import openai
from tests.e2e.answers import STREAMED, said
from tests.e2e.server_process import MODEL, start_server

from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ
from antiphon_executor.shipped import ANTIPHON_NANO
from antiphon_executor.tiny import write_tiny_checkpoint

LEVELS = (1, 4, 8)
MODES = {"default": (), "deterministic": ("--engine.deterministic",)}
QUESTIONS = (
    "Say hello.",
    "Count to twelve.",
    "What is 7 plus 8?",
    "Tell me about the red house by the river. " * 40,
    "Who are you?",
    "What is the time?",
    "Name three colours and three animals.",
    "Read this aloud: the boat is on the lake, and the lake is calm.",
    "What did I say? " * 25,
    "Good night.",
)


@dataclass(frozen=True)
class Spoken:
    """`content`: all that must be equal. Times in seconds since the request."""

    content: tuple[str, str]
    first_s: float
    last_s: float
    audio_s: float

    @property
    def real_time_factor(self) -> float:
        return (self.last_s - self.first_s) / self.audio_s


def speak(client: openai.OpenAI, number: int, max_tokens: int) -> Spoken:
    """Question `number` with its seed."""
    began, first_s, last_s = time.monotonic(), 0.0, 0.0
    text, sound = "", ""
    body: dict[str, Any] = {**STREAMED, "audio": {"format": "pcm16"}}
    chunks = client.chat.completions.create(
        model=MODEL,
        messages=said(QUESTIONS[number]),
        seed=number,
        temperature=1.0,
        max_tokens=max_tokens,
        **body,
    )
    for chunk in chunks:
        for choice in chunk.choices:
            audio = choice.delta.audio
            text += (audio.transcript if audio else choice.delta.content) or ""
            data = (audio.data if audio else None) or ""
            if data:
                last_s = time.monotonic() - began
                first_s = first_s or last_s
                sound += data
    samples = len(sound) * 3 / 4 / 2
    return Spoken((text, sound), first_s, last_s, samples / OUTPUT_SAMPLE_RATE_HZ)


def cost(client: openai.OpenAI, streams: int, answers: int, max_tokens: int) -> str:
    began = time.monotonic()
    with ThreadPoolExecutor(streams) as pool:
        heard = [*pool.map(lambda at: speak(client, at % len(QUESTIONS), max_tokens), range(answers))]
    wall_s = time.monotonic() - began
    first_ms = median(one.first_s for one in heard) * 1e3
    factor = median(one.real_time_factor for one in heard)
    speech = sum(one.audio_s for one in heard) / wall_s
    return f"{streams:7d} {len(heard):8d} {first_ms:10.0f} {factor:6.2f} {speech:11.1f}"


def equal(client: openai.OpenAI, answers: int, max_tokens: int) -> str:
    """At mixed load: up to eight at once, with gaps of up to half a second."""
    alone = [speak(client, number, max_tokens).content for number in range(len(QUESTIONS))]
    rng = random.Random(0)

    def one(given: tuple[int, float]) -> bool:
        number, gap_s = given
        time.sleep(gap_s)
        return speak(client, number, max_tokens).content == alone[number]

    asked = [(at % len(QUESTIONS), rng.choice((0.0, 0.0, 0.5)) * rng.random()) for at in range(answers)]
    rng.shuffle(asked)
    with ThreadPoolExecutor(max(LEVELS)) as pool:
        return f"{sum(pool.map(one, asked))} of {answers} answers equal those given alone"


@contextmanager
def client_of(model: Path, log: Path, *flags: str) -> Iterator[openai.OpenAI]:
    server = start_server(model, log, "--dtype", "auto", *flags)
    try:
        yield server.client()
    finally:
        server.process.terminate()
        server.process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--answers", type=int, default=100, help="that are compared")
    parser.add_argument(
        "--timed", type=int, default=24, help="answers of each number of streams; 0: no times"
    )
    parser.add_argument("--modes", nargs="+", choices=MODES, default=[*MODES])
    parser.add_argument("--max-tokens", type=int, default=24)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        tiny = Path(folder) / "tiny"
        if given.model is None:
            write_tiny_checkpoint(tiny)
        models = {"antiphon-nano": ANTIPHON_NANO, "tiny Qwen3-Omni": tiny}
        for name, model in models.items() if given.model is None else [(given.model.name, given.model)]:
            measure(name, model, Path(folder), given)


def measure(name: str, model: Path, folder: Path, given: argparse.Namespace) -> None:
    for mode in given.modes:
        with client_of(model, folder / f"log-{mode}", *MODES[mode]) as client:
            print(f"{name}, {mode}: {equal(client, given.answers, given.max_tokens)}", flush=True)
            if given.timed:
                print(f"{'streams':>7} {'answers':>8} {'first, ms':>10} {'RTF':>6} {'speech s/s':>11}")
            for streams in LEVELS if given.timed else ():
                print(cost(client, streams, given.timed, given.max_tokens), flush=True)


if __name__ == "__main__":
    main()
