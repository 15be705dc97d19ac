"""A Realtime server with known delays: it hears by loudness, and answers each turn by a script."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets.asyncio.server import ServerConnection, serve

LOUD = 1_000
SILENT_FRAMES = 10


@dataclass(frozen=True)
class Told:
    """One turn. `packets`: (seconds of waiting, seconds of sound). `status`: of the response.

    `hears_later_s`: after the response, when it hears speech that there is not. `leaves`: after it.
    """

    packets: Sequence[tuple[float, float]] = ((0.2, 1.0),)
    status: str = "completed"
    details: dict[str, Any] | None = None
    is_deaf: bool = False
    hears_itself: bool = False
    hears_later_s: float | None = None
    is_garbled: bool = False
    leaves: bool = False


@dataclass
class TalkingServer:
    """`told`: by turn of a connection. `sessions`, `keys`, `kinds`: what came."""

    told: Sequence[Told]
    sessions: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    async def talk(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.keys.append(socket.request.headers.get("Authorization"))
        turns, quiet, speaking = iter(self.told), 0, False
        told = next(turns)
        tasks: list[asyncio.Task[None]] = []
        async for frame in socket:
            event = json.loads(frame)
            if event["type"] != "input_audio_buffer.append":
                self.kinds.append(event["type"])
                speaking = speaking and event["type"] != "input_audio_buffer.clear"
                told = next(turns, told) if event["type"] == "input_audio_buffer.clear" else told
                self.sessions += [event["session"]] if "session" in event else []
                continue
            is_loud = np.abs(np.frombuffer(base64.b64decode(event["audio"]), "<i2")).max() > LOUD
            quiet = 0 if is_loud else quiet + 1
            if is_loud and not speaking:
                speaking = True
                await say(socket, "input_audio_buffer.speech_started")
            elif speaking and quiet == SILENT_FRAMES and not told.is_deaf:
                speaking = False
                await say(socket, "input_audio_buffer.speech_stopped")
                tasks.append(asyncio.create_task(answer(socket, told, f"resp_{len(tasks)}")))
                told = next(turns, told)


async def answer(socket: ServerConnection, told: Told, name: str) -> None:
    await say(socket, "response.created", **({} if told.is_garbled else {"response": {"id": name}}))
    for wait_s, sound_s in told.packets:
        await asyncio.sleep(wait_s)
        sound = base64.b64encode(bytes(round(sound_s * 24_000) * 2)).decode()
        await say(socket, "response.output_audio.delta", response_id=name, delta=sound)
        await say(socket, "response.output_audio_transcript.delta", response_id=name, delta="so ")
    if told.hears_itself:
        await say(socket, "input_audio_buffer.speech_started")
    done = {"id": name, "status": told.status, "status_details": told.details}
    await say(socket, "response.done", response=done)
    if told.hears_later_s is not None:
        await asyncio.sleep(told.hears_later_s)
        await say(socket, "input_audio_buffer.speech_started")
        await say(socket, "input_audio_buffer.speech_stopped")
    if told.leaves:
        await socket.close()


async def say(socket: ServerConnection, kind: str, **fields: Any) -> None:
    await socket.send(json.dumps({"type": kind, **fields}))


@asynccontextmanager
async def talking_server(*told: Told) -> AsyncIterator[tuple[TalkingServer, str]]:
    """The server, and its API's URL."""
    server = TalkingServer(told)
    async with serve(server.talk, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        yield server, f"http://127.0.0.1:{port}/v1"
