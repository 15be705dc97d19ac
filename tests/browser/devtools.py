"""A connection to a browser by the Chrome DevTools Protocol: commands, answers, and events by session."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from websockets.sync.client import ClientConnection

ANSWER_WITHIN_S = 60.0


class DevToolsError(Exception):
    """The browser refused a command."""


class DevTools:
    """Events are passed on while an answer is awaited, and by `listen`."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self.listeners: dict[str, list[Callable[[str, dict[str, Any]], None]]] = defaultdict(list)

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The result of a command. Raises DevToolsError."""
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message | ({"sessionId": session} if session else {})))
        until = time.monotonic() + ANSWER_WITHIN_S
        while number not in self._answers:
            self._receive(until - time.monotonic())
        answer = self._answers.pop(number)
        if "error" in answer:
            raise DevToolsError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def listen(self, seconds: float) -> None:
        """Passes on the events of this time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                self._receive(left)
            except TimeoutError:
                return

    def _receive(self, within_s: float) -> None:
        message = json.loads(self._socket.recv(max(within_s, 0)))
        if "id" in message:
            self._answers[message["id"]] = message
            return
        for listener in list(self.listeners[message.get("sessionId", "")]):
            listener(message["method"], message["params"])
