"""Times the real server with the tiny checkpoint: start-up, first text, first sound, and each frame after it.

In: `--url` of a running server, or nothing: then one is started. Out: a table on stdout. Every stream is
greedy, so that random weights find no end, and is left after `--frames` frames. It checks nothing.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from tests.e2e.recordings import make_recordings
from tests.e2e.server_process import MODEL, start_server

from antiphon_executor.tiny import write_tiny_checkpoint

BYTES_PER_FRAME = 2 * 1_920
FRAME_MS = 80.0
TEXT = [{"role": "user", "content": "Tell me a long story about the red house by the river."}]


@dataclass(frozen=True)
class Heard:
    """One stream, in seconds from its request. `frame_s`: mean time between its frames after the first."""

    first_text_s: float
    first_sound_s: float
    frame_s: float


def open_client(url: str) -> httpx.Client:
    """One for all streams: making one takes this process a tenth of a second, which is nobody else's."""
    return httpx.Client(base_url=url, timeout=120, limits=httpx.Limits(max_connections=None), verify=False)


def listen(client: httpx.Client, messages: list[dict[str, Any]], frames: int) -> Heard:
    """Reads one spoken answer as it comes, `frames` frames of it."""
    body = {
        "model": MODEL,
        "messages": messages,
        "modalities": ["text", "audio"],
        "audio": {"voice": "ethan", "format": "pcm16"},
        "stream": True,
        "temperature": 0,
        "talker_temperature": 0,
        "max_tokens": 64,
    }
    began = time.monotonic()
    first_text_s = first_sound_s = last_s = 0.0
    heard = first_bytes = 0
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            audio = _audio_of(line)
            now = time.monotonic() - began
            if audio.get("transcript"):
                first_text_s = first_text_s or now
            if data := audio.get("data"):
                size = len(base64.b64decode(data))
                heard += size
                if not first_sound_s:
                    first_sound_s, first_bytes = now, size
                last_s = now
            if heard >= frames * BYTES_PER_FRAME:
                break
    later = (heard - first_bytes) / BYTES_PER_FRAME
    return Heard(first_text_s, first_sound_s, (last_s - first_sound_s) / max(later, 1e-9))


def _audio_of(line: str) -> dict[str, Any]:
    if not line.startswith("data: {"):
        return {}
    choices = json.loads(line[6:]).get("choices") or [{}]
    audio: dict[str, Any] = choices[0].get("delta", {}).get("audio") or {}
    return audio


def row(
    client: httpx.Client, name: str, messages: list[dict[str, Any]], streams: int, given: argparse.Namespace
) -> str:
    """`streams` at once, `--rounds` times, as one line of the table."""
    heard: list[Heard] = []
    with ThreadPoolExecutor(streams) as pool:
        for _ in range(given.rounds):
            calls = [pool.submit(listen, client, messages, given.frames) for _ in range(streams)]
            heard += [call.result() for call in calls]
    columns = [[getattr(one, field) * 1e3 for one in heard] for field in Heard.__dataclass_fields__]
    cells = [f"{median(column):8.1f} {_high(column):8.1f}" for column in columns]
    rtf = median(columns[2]) / FRAME_MS
    return f"{name:28} {streams:3d} " + " ".join(cells) + f" {rtf:6.2f}"


def _high(values: list[float]) -> float:
    return sorted(values)[round(0.9 * (len(values) - 1))]


@contextmanager
def a_server() -> Iterator[str]:
    """A tiny checkpoint and a server of its own; prints how long it took to be ready."""
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "tiny"
        write_tiny_checkpoint(checkpoint)
        server = start_server(checkpoint, Path(folder) / "log")
        print(f"start-up: {server.start_s:.1f} s from the command to a ready server")
        try:
            yield server.url
        finally:
            server.process.terminate()
            server.process.wait(60)


def measure(client: httpx.Client, given: argparse.Namespace) -> None:
    listen(client, TEXT, given.frames)
    busy = os.getloadavg()[0]
    print(
        f"{os.cpu_count()} cores, load {busy:.1f}; ms, median and 90th percentile; a frame is {FRAME_MS:g} ms"
    )
    print(f"{'':28} {'n':>3} {'first text':>17} {'first sound':>17} {'frame':>17} {'RTF':>6}")
    asked_aloud = make_recordings().all_at_once()
    for name, messages in (("text", TEXT), ("speech, picture and film", asked_aloud)):
        for streams in given.streams:
            print(row(client, name, messages, streams, given), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help=f"a server that serves the tiny checkpoint as '{MODEL}'")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=4)
    given = parser.parse_args()
    if given.url:
        with open_client(given.url) as client:
            measure(client, given)
        return
    with a_server() as url, open_client(url) as client:
        measure(client, given)


if __name__ == "__main__":
    main()
