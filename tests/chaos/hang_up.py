"""One client that disconnects: its request, the moment and the manner.

In: a random source, a port. Out: a closed connection. Plain sockets, because client libraries clean up.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.chaos.questions import any_question, lasting_question
from tests.e2e.recordings import Recordings

LONGEST_S = 30.0
PATH = "/v1/chat/completions"
# Nothing follows these: the answer is complete or was rejected.
OVER = (b"[DONE]", b'"error":')


class Moment(StrEnum):
    """When it disconnects."""

    IN_THE_HEAD = "in the head"
    IN_THE_UPLOAD = "in the upload"
    BEFORE_THE_ANSWER = "before the answer"
    IN_THE_TEXT = "in the text"
    IN_THE_SOUND = "in the sound"
    AFTER_THE_END = "after the last chunk"


LATE = (Moment.BEFORE_THE_ANSWER, Moment.IN_THE_TEXT, Moment.IN_THE_SOUND)


@dataclass(frozen=True)
class HangUp:
    """`waits_s`: how long it stays after that moment. `resets`: RST instead of FIN."""

    moment: Moment
    body: dict[str, Any]
    share: float
    waits_s: float
    resets: bool

    def __str__(self) -> str:
        content = self.body["messages"][-1]["content"]
        asked = "media" if isinstance(content, list) else "text"
        wanted = "speech" if "modalities" in self.body else "text"
        return f"{asked} to {wanted} {self.moment} +{self.waits_s * 1e3:.0f} ms"


def draw(dice: random.Random, recordings: Recordings | None) -> HangUp:
    """Draws any moment."""
    return HangUp(
        moment=dice.choice(list(Moment)),
        body=any_question(dice, recordings),
        share=dice.random(),
        waits_s=dice.choice([0.0, dice.uniform(0, 0.3)]),
        resets=dice.random() < 0.5,
    )


def draw_late(dice: random.Random, recordings: Recordings | None) -> HangUp:
    """Draws one that leaves while its answer is generated."""
    body = lasting_question(dice, recordings)
    return HangUp(dice.choice(LATE), body, 1.0, dice.uniform(0, 0.3), dice.random() < 0.5)


def play(port: int, hang_up: HangUp, before_leaving: Callable[[], object] = lambda: None) -> None:
    body = json.dumps(hang_up.body).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=LONGEST_S) as sock:
        sock.sendall(_sent_before(hang_up, head, body))
        _read_until(sock, _sign_of(hang_up))
        time.sleep(hang_up.waits_s)
        before_leaving()
        if hang_up.resets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _sent_before(hang_up: HangUp, head: bytes, body: bytes) -> bytes:
    match hang_up.moment:
        case Moment.IN_THE_HEAD:
            return head[: int(len(head) * hang_up.share * 0.99)]
        case Moment.IN_THE_UPLOAD:
            return head + body[: int(len(body) * hang_up.share * 0.99)]
        case _:
            return head + body


def _sign_of(hang_up: HangUp) -> bytes:
    """The bytes that it waits for; an unstreamed answer arrives all at once."""
    speaks = "modalities" in hang_up.body
    match hang_up.moment:
        case Moment.IN_THE_TEXT if hang_up.body.get("stream"):
            return b'"transcript":' if speaks else b'"content":'
        case Moment.IN_THE_SOUND if hang_up.body.get("stream"):
            return b'"data":' if speaks else b'"content":'
        case Moment.AFTER_THE_END:
            return b"[DONE]" if hang_up.body.get("stream") else b'"usage":'
        case _:
            return b""


def _read_until(sock: socket.socket, sign: bytes) -> None:
    """Reads until `sign`, the end of the answer or connection, or a timeout."""
    seen, until = b"", time.monotonic() + LONGEST_S
    with suppress(TimeoutError):
        while sign and not any(one in seen for one in (sign, *OVER)) and time.monotonic() < until:
            piece = sock.recv(65_536)
            if not piece:
                return
            seen = seen[-32:] + piece
