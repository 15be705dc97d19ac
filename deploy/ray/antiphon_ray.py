"""Antiphon on Ray Serve: a replica is one `antiphon serve` with its GPUs; Ray routes, scales and drains them.

`serve run deploy.ray.antiphon_ray:build replicas=2 flags="--tier nano"`. The process is Antiphon's, in an
environment of its own: Ray's needs `ray[serve]` alone. README.md says which limits Ray's proxy takes over.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp
from ray import serve
from ray.serve.config import AutoscalingConfig, RequestRouterConfig

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
# Where this replica's server listens. Ray copies the ASGI application, so that it cannot hold it.
_ADDRESS = "ANTIPHON_REPLICA_ADDRESS"
_HOP = {"connection", "host", "keep-alive", "transfer-encoding", "upgrade", "sec-websocket-key"}
_HOP |= {"sec-websocket-version", "sec-websocket-extensions", "sec-websocket-protocol", "content-length"}
_LOST = {"message": "the replica has ended", "type": "server_error", "param": None, "code": "replica_lost"}


class Forward:
    """The ASGI application: passes requests and WebSockets on, unbuffered, and says which replica answers."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]]
        headers = [(key, value) for key, value in headers if key.lower() not in _HOP]
        query = scope["query_string"].decode("latin-1")
        place = f"{os.environ[_ADDRESS]}{scope['path']}{'?' if query else ''}{query}"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
            if scope["type"] == "websocket":
                await _converse(session, f"http://{place}", headers, scope, receive, send)
            else:
                await _answer(session, f"http://{place}", headers, scope, receive, send)


async def _answer(session: Any, url: str, headers: Any, scope: Message, receive: Receive, send: Send) -> None:
    async def body() -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            yield message.get("body", b"")

    has_body = scope["method"] in ("POST", "PUT", "PATCH")
    started = is_stream = False
    try:
        # Leaving the block, also because Ray cancels a request whose client has left, ends it at the server.
        async with session.request(
            scope["method"], url, headers=headers, data=body() if has_body else None, allow_redirects=False
        ) as answer:
            given = [
                (k, v)
                for k, v in answer.raw_headers
                if k.lower() not in (b"transfer-encoding", b"connection")
            ]
            given.append((b"x-antiphon-replica", serve.get_replica_context().replica_id.unique_id.encode()))
            await send({"type": "http.response.start", "status": answer.status, "headers": given})
            started, is_stream = True, answer.content_type == "text/event-stream"
            async for piece in answer.content.iter_any():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    except aiohttp.ClientError:
        if started and not is_stream:
            raise
        error = json.dumps({"error": _LOST}).encode()
        if not started:
            head = [(b"content-type", b"application/json"), (b"retry-after", b"5")]
            await send({"type": "http.response.start", "status": 503, "headers": head})
        await send({"type": "http.response.body", "body": b"data: " + error + b"\n\n" if started else error})


async def _converse(
    session: Any, url: str, headers: Any, scope: Message, receive: Receive, send: Send
) -> None:
    await receive()
    try:
        server = await session.ws_connect(
            url, headers=headers, protocols=scope.get("subprotocols", ()), max_msg_size=0
        )
    except aiohttp.ClientError:
        await send({"type": "websocket.close", "code": 1013})
        return
    async with server:
        await send({"type": "websocket.accept", "subprotocol": server.protocol})

        async def pass_on() -> None:
            while (message := await receive())["type"] == "websocket.receive":
                text = message.get("text")
                await (server.send_str(text) if text is not None else server.send_bytes(message["bytes"]))
            await server.close()

        passing = asyncio.ensure_future(pass_on())
        try:
            async for message in server:
                await send({"type": "websocket.send", "text": message.data})
            await send({"type": "websocket.close", "code": server.close_code or 1011})
        finally:
            passing.cancel()


@serve.deployment(name="antiphon", health_check_period_s=2, graceful_shutdown_timeout_s=150)
@serve.ingress(Forward())
class Replica:
    """One server. `command`: starts it. It is restarted with its replica if it ends."""

    def __init__(self, command: list[str], loads_s: float) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        os.environ[_ADDRESS] = f"127.0.0.1:{port}"
        # With util-linux the server ends with its replica, however that ends.
        if bond := shutil.which("setpriv"):
            command = [bond, "--pdeathsig", "TERM", "--", *command]
        arguments = [*command, "--host", "127.0.0.1", "--port", str(port)]
        self._process = subprocess.Popen(arguments)
        deadline = time.monotonic() + loads_s
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start: exit code {self._process.poll()}")
            time.sleep(0.5)

    def _is_ready(self) -> bool:
        try:
            return bool(
                urllib.request.urlopen(f"http://{os.environ[_ADDRESS]}/readyz", timeout=2).status == 200
            )
        except OSError:
            return False

    def check_health(self) -> None:
        if self._process.poll() is not None:
            raise RuntimeError(f"the server has ended with {self._process.returncode}")

    def __del__(self) -> None:
        """Ray has waited for the running requests."""
        self._process.terminate()
        self._process.wait(140)


def build(args: dict[str, str]) -> serve.Application:
    """`replicas`, or `least` and `most` to scale; `gpus`, `cpus` and `streams` of one; `command`, `flags`."""
    gpus, streams = float(args.get("gpus", 0)), int(args.get("streams", 8))
    scaling: dict[str, Any] = {"num_replicas": int(args.get("replicas", 1))}
    if "most" in args:
        # Running and queued requests of a replica that call for another.
        least, most = int(args.get("least", 1)), int(args["most"])
        limits = AutoscalingConfig(min_replicas=least, max_replicas=most, target_ongoing_requests=streams)
        scaling = {"autoscaling_config": limits}
    command = [*shlex.split(args.get("command", "antiphon serve")), *shlex.split(args.get("flags", ""))]
    return Replica.options(  # type: ignore[attr-defined,no-any-return]
        ray_actor_options={"num_cpus": float(args.get("cpus", 1)), "num_gpus": gpus},
        # A full server refuses at once, with Retry-After; Ray need not hold requests back.
        max_ongoing_requests=1_000,
        request_router_config=RequestRouterConfig(request_router_class=ROUTER),
        **scaling,
    ).bind(command, float(args.get("loads_s", 1_800)))
