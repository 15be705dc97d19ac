"""One hostile request and its answer: status, duration, and whether a client may get such an answer.

In: bytes for a socket. Out: an `Answer`. Plain sockets, because client libraries refuse to send most of this.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

LONGEST_S = 90.0
# No answer may contain these: paths, addresses, messages of Python and vLLM.
_LEAKS = re.compile(
    rb"Traceback|File \"|/home/|/usr/|site-packages|0x[0-9a-f]{6,}|vllm|pydantic|xgrammar", re.I
)


@dataclass(frozen=True)
class Answer:
    """`status`: 0 if the connection ended without one. `body`: after the head."""

    name: str
    status: int
    seconds: float
    body: bytes = b""
    broken: str = ""

    @property
    def fault(self) -> str:
        """What is wrong with the answer; empty if nothing is."""
        if self.broken:
            return f"{self.name}: {self.broken}"
        if self.status >= 500 and self.status != 503:
            return f"{self.name}: {self.status} {self.body[:200]!r}"
        if leak := _LEAKS.search(self.body) if self.status >= 400 else None:
            return f"{self.name}: {self.status} tells {leak[0]!r}"
        if self.status >= 400 and not self._has_an_envelope():
            return f"{self.name}: {self.status} without an error object: {self.body[:200]!r}"
        return ""

    def _has_an_envelope(self) -> bool:
        try:
            error = json.loads(self.body)["error"]
        except (ValueError, TypeError, KeyError):
            return False
        return bool(error["message"]) and {"type", "param", "code"} <= error.keys()


def head_of(
    size: int | None, *lines: str, path: str = "/v1/chat/completions", content_type: str = "application/json"
) -> bytes:
    """A POST's head; without a `size` its body is chunked."""
    length = "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}"
    named = [f"Content-Type: {content_type}"] if content_type else []
    return "\r\n".join((f"POST {path} HTTP/1.1", "Host: 127.0.0.1", length, *named, *lines, "", "")).encode()


def exchange(port: int, name: str, pieces: Iterable[bytes]) -> Answer:
    """Sends the pieces and reads the answer. The server may answer and close before everything is sent."""
    began = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=LONGEST_S) as sock:
            try:
                for piece in pieces:
                    sock.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                pass
            raw = _read(sock, began)
    except TimeoutError:
        return Answer(name, 0, time.monotonic() - began, broken=f"no answer within {LONGEST_S:g} s")
    except ConnectionError as error:
        return Answer(name, 0, time.monotonic() - began, broken=f"no answer: {error!r}")
    head, _, body = raw.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 "):
        return Answer(name, 0, time.monotonic() - began, broken="the connection ended without an answer")
    body = _joined(body) if b"chunked" in head else body
    return Answer(name, int(head.split(b" ", 2)[1]), time.monotonic() - began, body)


def _read(sock: socket.socket, began: float) -> bytes:
    read = b""
    while piece := sock.recv(65_536):
        read += piece
        head, found, body = read.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.I)
        if found and length and len(body) >= int(length[1]):
            break
        if found and body.endswith(b"0\r\n\r\n"):
            break
        if time.monotonic() - began > LONGEST_S:
            raise TimeoutError
    return read


def _joined(body: bytes) -> bytes:
    """A chunked body without its framing."""
    joined = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        try:
            length = int(size.split(b";")[0], 16)
        except ValueError:
            break
        joined, body = joined + rest[:length], rest[length + 2 :]
    return joined
