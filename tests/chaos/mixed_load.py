"""Clients with random requests for the whole run, a few at a time; some of them disconnect.

In: a running server. Out: `Load`, which counts how their answers ended. The machine keeps up with the load: a
soak looks for leaks, not for capacity.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.chaos.endings import Ending, listen
from tests.chaos.hang_up import draw, play
from tests.chaos.questions import any_question
from tests.e2e.recordings import Recordings
from tests.e2e.server_process import RunningServer

LEAVES = 0.15
PAUSE_S = 1.0


@dataclass
class Load:
    """`took_s`: durations of complete streamed answers. `refused`: rejected with Retry-After."""

    answers: int = 0
    left: int = 0
    refused: int = 0
    took_s: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def note(self, ending: Ending, took_s: float) -> None:
        if ending.status in (429, 503):
            self.refused += 1
        elif ending.is_whole:
            self.answers += 1
            self.took_s.append(took_s)
        else:
            self.broken.append(str(ending))


class People:
    """`with People(...) as load:` clients arrive, and all have left at its end."""

    def __init__(self, server: RunningServer, clients: int, recordings: Recordings | None) -> None:
        self._server = server
        self._recordings = recordings
        self._load = Load()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._one, args=(number,)) for number in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self._load

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(120)

    def _one(self, number: int) -> None:
        dice = random.Random(number)
        while not self._over.wait(dice.uniform(0, PAUSE_S)):
            if dice.random() < LEAVES:
                play(self._server.port, draw(dice, self._recordings))
                self._load.left += 1
            else:
                began = time.monotonic()
                ending = self._hear(any_question(dice, self._recordings))
                self._load.note(ending, time.monotonic() - began)

    def _hear(self, question: dict[str, Any]) -> Ending:
        if question.get("stream"):
            return listen(self._server.url, question)
        try:
            answer = httpx.post(
                f"{self._server.url}/v1/chat/completions", json=question, timeout=90, verify=False
            )
        except httpx.HTTPError as error:
            return Ending(0, broken=repr(error))
        return Ending(answer.status_code, dones=int(answer.status_code == 200))
