"""A streamed answer of a chat model: text and speech in any dialect of omni servers, piece by piece."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import closing
from typing import Any

from antiphon_server.bench.measure.dialect import ChunkContent, ErrorEvent, MalformedChunk, parse_chunk
from antiphon_server.client.connection import ServerConnection, broken_off
from antiphon_server.exits import ExitCode, StartupError

_PATH = "/chat/completions"


def answer_of(connection: ServerConnection, body: dict[str, Any]) -> Generator[ChunkContent]:
    """Raises `StartupError`, also for a stream that ends in an error or without its end."""
    finished = False
    with closing(_events(connection, body)) as events:
        for data in events:
            if (error := broken_off(data)) is not None:
                raise error
            content = _whole(data) or _chunk(data)
            finished = finished or content.finished
            yield content
    if not finished:
        raise StartupError(ExitCode.SERVER_AWAY, "the answer broke off before its end")


def _events(connection: ServerConnection, body: dict[str, Any]) -> Generator[str]:
    yield from connection.events(_PATH, {**body, "stream": True})


def _chunk(data: str) -> ChunkContent:
    try:
        return parse_chunk(data)
    except (MalformedChunk, ErrorEvent) as error:
        raise StartupError(ExitCode.REFUSED, f"the answer cannot be read: {error}") from None


def _whole(data: str) -> ChunkContent | None:
    """The text of a completion, from a server that does not stream; None for a chunk."""
    if '"message"' not in data:
        return None
    try:
        text = json.loads(data)["choices"][0]["message"]["content"]
        return ChunkContent(text if isinstance(text, str) else "", finished=True)
    except (ValueError, KeyError, TypeError, IndexError):
        return None
