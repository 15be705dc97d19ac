"""One realtime connection of a proof: events out, events in, and ways to break it off."""

from __future__ import annotations

import base64
import json
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.sync.client import ClientConnection, connect

Event = dict[str, Any]
RATE_HZ = 24_000
ANSWER_S = 60.0
COUNTING = "Count from one to twenty."


class Caller:
    """`events`: all that came."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.events: list[Event] = []

    def send(self, kind: str, **fields: Any) -> None:
        self.connection.send(json.dumps({"type": kind, **fields}))

    def write(self, text: str) -> None:
        """A message of the user."""
        content = [{"type": "input_text", "text": text}]
        self.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})

    def say(self, samples: NDArray[np.int16]) -> None:
        """Sent at once: the server hears it as fast as it can."""
        for at in range(0, len(samples), RATE_HZ):
            piece = samples[at : at + RATE_HZ].tobytes()
            self.send("input_audio_buffer.append", audio=base64.b64encode(piece).decode())

    def receive(self, within_s: float = ANSWER_S) -> Event:
        event: Event = json.loads(self.connection.recv(max(within_s, 0.0)))
        self.events.append(event)
        return event

    def until(self, is_last: Callable[[Event], bool] | str) -> list[Event]:
        """All events up to one of this type, or that fits."""
        began = len(self.events)
        while True:
            event = self.receive()
            if event["type"] == is_last if isinstance(is_last, str) else is_last(event):
                return self.events[began:]

    def break_off(self, *, resets: bool) -> None:
        """Without a closing handshake: RST or FIN."""
        sock = self.connection.socket
        with suppress(OSError):
            if resets:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # The library's thread still reads: a close alone would not reach the network.
                sock.shutdown(socket.SHUT_RD)
                sock.close()
            else:
                sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def calling(url: str, **session: Any) -> Iterator[Caller]:
    """`url`: of the server; `session`: fields of its first update."""
    address = url.replace("http", "ws", 1) + "/v1/realtime"
    with connect(address, max_size=None, close_timeout=2) as socket_:
        caller = Caller(socket_)
        if session:
            caller.send("session.update", session={"type": "realtime", **session})
        yield caller


def pcm_of(event: Event) -> bytes:
    return base64.b64decode(event["delta"]) if event["type"] == "response.output_audio.delta" else b""


@cache
def speech(text: str) -> NDArray[np.int16]:
    """Spoken by espeak-ng."""
    command = ["espeak-ng", "-v", "en-us", "-s", "155", "--stdout", text]
    wav = subprocess.run(command, check=True, capture_output=True, timeout=20).stdout
    samples = np.frombuffer(wav[44 : len(wav) - len(wav) % 2], "<i2")
    at = np.arange(len(samples) * RATE_HZ // 22_050) * (22_050 / RATE_HZ)
    return np.interp(at, np.arange(len(samples)), samples).astype(np.int16)


def silence(seconds: float) -> NDArray[np.int16]:
    return np.zeros(round(seconds * RATE_HZ), np.int16)
