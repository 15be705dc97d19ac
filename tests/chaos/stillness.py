"""Whether a server holds no resources, read often over one persistent connection without an HTTP parser.

In: a port. Out: whether the server's own count and those of both engines are zero.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

HELD = re.compile(
    r"^(?:antiphon_engine_requests|antiphon_stage_running|antiphon_stage_queue_depth"
    r'|antiphon_speech_slots\{state="used"\}|(?:vllm:|antiphon_talker_)num_requests_(?:running|waiting))'
    r"(?:\{[^}]*\})? (\S+)$",
    re.MULTILINE,
)
# Both stages five times, and the slots.
FIGURES = 11


class Stillness:
    """`looks_s`: duration of each reading."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self.looks_s: list[float] = []

    def is_still(self) -> bool:
        began = time.monotonic()
        text = self._client.get("/metrics").text
        self.looks_s.append(time.monotonic() - began)
        return holds_nothing(text)


def holds_nothing(metrics: str) -> bool:
    """Reads `/metrics`. AssertionError if a figure is missing."""
    figures = [float(value) for value in HELD.findall(metrics)]
    assert len(figures) >= FIGURES, f"{len(figures)} figures"
    return not any(figures)


@contextmanager
def stillness_of(port: int) -> Iterator[Stillness]:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=15, verify=False) as client:
        yield Stillness(client)
