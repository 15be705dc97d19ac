"""How a streamed answer ended, as its client sees it: every answer must have exactly one clear end.

In: a request. Out: an `Ending`, counted from the received bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Ending:
    """`dones`, `errors`: terminal events. `last_is_terminal`: nothing followed. `broken`: no HTTP end."""

    status: int
    dones: int = 0
    errors: int = 0
    last_is_terminal: bool = True
    broken: str = ""

    @property
    def is_whole(self) -> bool:
        return self.is_one and self.dones == 1

    @property
    def is_one(self) -> bool:
        """Whether there is exactly one terminal event, at the end, or the request was rejected."""
        if self.broken or not self.last_is_terminal:
            return False
        return self.status != 200 or self.dones + self.errors == 1


def listen(url: str, body: dict[str, Any], timeout_s: float = 90) -> Ending:
    """Reads a streamed answer to its end, also if the connection breaks."""
    status, lines = 0, list[str]()
    try:
        with httpx.stream(
            "POST", f"{url}/v1/chat/completions", json=body, timeout=timeout_s, verify=False
        ) as answer:
            status = answer.status_code
            lines = [line[6:] for line in answer.iter_lines() if line.startswith("data: ")]
    except httpx.HTTPError as error:
        return Ending(status, broken=repr(error))
    return ending_of(status, lines)


def ending_of(status: int, lines: list[str]) -> Ending:
    """`lines`: the events' data, in order."""
    if status != 200:
        return Ending(status)
    terminal = [line == "[DONE]" or "error" in json.loads(line) for line in lines]
    dones = lines.count("[DONE]")
    return Ending(status, dones, sum(terminal) - dones, bool(terminal) and terminal[-1])
