"""The environment of a run for the report: the server, this machine, and the connection time between them.

Facts that the server does not report are None.
"""

from __future__ import annotations

import asyncio
import os
import platform
import statistics
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec

from antiphon_server.bench.target import address_of
from antiphon_server.exits import ExitCode, StartupError
from antiphon_server.version import VERSION

_CONNECTIONS = 5
_CONNECT_S = 10.0


class ServerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The server under test. `connect_ms`: median time to open a TCP connection (one round trip)."""

    url: str
    model: str
    models: tuple[str, ...]
    owned_by: str | None
    version: str | None
    server_header: str | None
    connect_ms: float


class ClientFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The machine that runs the benchmark. `load_average`: over one minute, at the start of the run."""

    tool: str
    python: str
    system: str
    processor: str
    cores: int
    load_average: float


async def describe_server(client: httpx.AsyncClient, url: str, model: str | None) -> ServerFacts:
    """Raises `StartupError` if the server does not answer, rejects the API key, or lists no model."""
    connect_ms = await _connect_ms(url)
    try:
        response = await client.get(f"{url}/models")
    except httpx.HTTPError as error:
        raise StartupError(
            ExitCode.FAULT, f"{url} does not answer: {error or type(error).__name__}"
        ) from None
    if response.status_code in (401, 403):
        hint = "use --api-key-file, or set ANTIPHON_API_KEY (OPENAI_API_KEY or DASHSCOPE_API_KEY for them)"
        raise StartupError(ExitCode.USAGE, f"{url} rejects the API key", hint)
    listed = _model_entries(response)
    names = tuple(str(entry.get("id")) for entry in listed)
    if model is None and not names:
        raise StartupError(ExitCode.USAGE, f"{url} lists no models", "name one with --model")
    chosen = model or names[0]
    entry = next((entry for entry in listed if entry.get("id") == chosen), {})
    return ServerFacts(
        url=url,
        model=chosen,
        models=names[:8],
        owned_by=entry.get("owned_by"),
        version=await _version(client, url),
        server_header=response.headers.get("server"),
        connect_ms=connect_ms,
    )


def describe_client() -> ClientFacts:
    return ClientFacts(
        tool=f"antiphon {VERSION}",
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        load_average=os.getloadavg()[0],
    )


async def _connect_ms(url: str) -> float:
    host, port = address_of(url)
    took_ms = []
    for _ in range(_CONNECTIONS):
        began = time.monotonic()
        try:
            async with asyncio.timeout(_CONNECT_S):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError) as error:
            reason = str(error) or f"no connection within {_CONNECT_S:g} s"
            raise StartupError(ExitCode.FAULT, f"nothing answers at {host}:{port}: {reason}") from None
        took_ms.append((time.monotonic() - began) * 1e3)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return statistics.median(took_ms)


def _model_entries(response: httpx.Response) -> list[dict[str, Any]]:
    with suppress(ValueError):
        body = response.json()
        data = body.get("data") if isinstance(body, dict) else None
        if response.status_code == httpx.codes.OK and isinstance(data, list):
            return [entry for entry in data if isinstance(entry, dict)]
    return []


async def _version(client: httpx.AsyncClient, url: str) -> str | None:
    """The version at /version, beside /v1, as vLLM, SGLang and Antiphon report it."""
    with suppress(httpx.HTTPError, ValueError):
        response = await client.get(f"{url.rpartition('/')[0]}/version")
        body = response.json() if response.status_code == httpx.codes.OK else None
        if isinstance(body, dict) and isinstance(body.get("version"), str):
            return str(body["version"])[:64]
    return None


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
