"""A spoken answer in progress, and faults that a test injects into the engines."""

from __future__ import annotations

import signal
import threading
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

from tests.e2e.answers import STREAMED, said
from tests.e2e.server_process import MODEL, RunningServer, becomes

LONG: dict[str, Any] = {
    "model": MODEL,
    "messages": said("Tell me a long story."),
    "max_tokens": 400,
    "talker_temperature": 0,  # of random weights, the greedy Talker does not find an end
    "seed": 1,
    **STREAMED,
}


class LiveStream:
    """A streamed spoken answer being read by a thread. `lines`: the events so far; `status`: HTTP's."""

    def __init__(self, server: RunningServer, body: dict[str, Any]) -> None:
        self._url = f"{server.url}/v1/chat/completions"
        self._body = body
        self.lines: list[str] = []
        self.broken: str | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def has_sound(self) -> bool:
        return any('"data"' in line for line in list(self.lines))

    def wait_for_sound(self) -> None:
        assert becomes(lambda: self.has_sound, 60), self.lines

    def ended(self, within_s: float) -> bool:
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def _read(self) -> None:
        try:
            with httpx.stream("POST", self._url, json=self._body, timeout=60) as answer:
                self.lines.extend(line[6:] for line in answer.iter_lines() if line.startswith("data: "))
        except httpx.HTTPError as error:
            self.broken = repr(error)


def kill_talker(server: RunningServer) -> None:
    talker_process(server).send_signal(signal.SIGKILL)


def talker_process(server: RunningServer) -> psutil.Process:
    """Its scheduler owns the socket of the clients' cursors, in both families."""
    return server.holder_of("pace")


def kill_thinker(server: RunningServer) -> None:
    thinker_process(server).send_signal(signal.SIGKILL)


def thinker_process(server: RunningServer) -> psutil.Process:
    """Its worker: the process below its engine's."""
    talker = talker_process(server).pid
    below = [p for p in server.tree()[1:] if p.pid != talker and p.ppid() != server.process.pid]
    workers = [p for p in below if p.name().startswith("VLLM")] or [
        p for p in server.tree()[1:] if p.name().startswith("VLLM") and p.pid != talker
    ]
    return workers[0]
