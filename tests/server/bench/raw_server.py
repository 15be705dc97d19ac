"""An HTTP server that sends the bytes of a test at the times of the test, without an engine."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

RATE_HZ = 24_000
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Answer:
    """`pieces`: seconds to wait, then bytes to send. `is_cut`: the connection is reset after the last one."""

    pieces: tuple[tuple[float, bytes], ...] = ()
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    is_cut: bool = False


Reply = Callable[[dict[str, Any]], Answer]


@dataclass
class RawServer:
    url: str
    reply: Reply
    places: asyncio.Semaphore
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.create_task(self._serve(reader, writer)))

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                line, headers = await _read_head(reader)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.keys.append(headers.get("authorization"))
                if line.startswith("GET"):
                    await _send(writer, _about(line))
                else:
                    await self._answer(json.loads(body), writer)
        writer.close()

    async def _answer(self, asked: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self.asked.append(asked)
        async with self.places:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            try:
                await _send(writer, self.reply(asked))
            finally:
                self.running -= 1


@asynccontextmanager
async def raw_server(reply: Reply, at_once: int = 1_000) -> AsyncIterator[RawServer]:
    """`at_once`: how many requests are answered at the same time; others wait."""
    found = RawServer("", reply, asyncio.Semaphore(at_once))
    server = await asyncio.start_server(found.connect, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield found
    finally:
        server.close()
        await found.close()


def event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def delta(fields: dict[str, Any], **top: Any) -> bytes:
    return event({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": fields}], **top})


def pcm(seconds: float) -> bytes:
    return bytes(2 * round(seconds * RATE_HZ))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def word(text: str) -> bytes:
    """A text chunk, as OpenAI sends it beside audio."""
    return delta({"audio": {"transcript": text}})


def sound(seconds: float) -> bytes:
    """An audio chunk, as OpenAI sends it."""
    return delta({"audio": {"data": b64(pcm(seconds))}})


def finish(**usage: Any) -> bytes:
    last = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return last + (event({"choices": [], "usage": usage}) if usage else b"") + DONE


def spoken(*packets: tuple[float, float]) -> Answer:
    """One word at once, then packets: seconds to wait, seconds of audio."""
    pieces = [(0.0, word("hello")), *((wait, sound(length)) for wait, length in packets), (0.0, finish())]
    return Answer(tuple(pieces))


def refusal(status: int, code: str, **headers: str) -> Answer:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    body = json.dumps({"error": {"message": "no", "type": "t", "param": None, "code": code}}).encode()
    return Answer(((0.0, body),), status, (("content-type", "application/json"), *named))


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    return line, {name.lower(): value for name, value in (one.split(": ", 1) for one in lines)}


def _about(line: str) -> Answer:
    path = line.split()[1]
    body: dict[str, Any] = {"object": "list", "data": [{"id": "raw", "owned_by": "test-owner"}]}
    if path == "/version":
        body = {"version": "9.9"}
    return Answer(((0.0, json.dumps(body).encode()),), 200, (("content-type", "application/json"),))


async def _send(writer: asyncio.StreamWriter, answer: Answer) -> None:
    headers = dict(answer.headers)
    headers.setdefault("content-type", "text/event-stream")
    lines = [f"HTTP/1.1 {answer.status} X", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join([*lines, "transfer-encoding: chunked", "", ""]).encode())
    for wait_s, data in answer.pieces:
        await asyncio.sleep(wait_s)
        writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await writer.drain()
    if answer.is_cut:
        writer.transport.abort()
        raise ConnectionResetError
    writer.write(b"0\r\n\r\n")
    await writer.drain()
