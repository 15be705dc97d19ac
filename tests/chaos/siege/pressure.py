"""Idle connections, endless trailers and expensive grammars.

In: a port. Out: answers, or the state of the connections. Every loop here is bounded in number and time.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from tests.chaos.siege.exchange import Answer, exchange, head_of

_ASKED = [{"role": "user", "content": "Say hello."}]


def stay_idle(port: int, connections: int, seconds: float) -> int:
    """Opens that many, sends half a head on every other one, waits. Returns how many stayed open."""
    with ExitStack() as opened:
        made = 0
        for number in range(connections):
            try:
                sock = opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=2))
                if number % 2:
                    sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            except OSError:
                continue
            made += 1
        time.sleep(seconds)
        return made


def send_trailers(port: int, seconds: float) -> tuple[int, bool]:
    """Sends trailers after a chunked body. Returns the bytes accepted, and whether the connection was cut."""
    body = json.dumps({"messages": _ASKED, "max_tokens": 4}).encode()
    line = b"x-trailer: " + b"v" * 1_000 + b"\r\n"
    sent, until = 0, time.monotonic() + seconds
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(head_of(None) + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n")
        try:
            while time.monotonic() < until:
                sock.sendall(line * 64)
                sent += 64 * len(line)
        except OSError:
            return sent, True
    return sent, False


def _wide(count: int, **bounds: int) -> dict[str, Any]:
    return {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(count)}, **bounds}


def _deep(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


def grammars() -> Iterator[tuple[str, dict[str, Any]]]:
    """Requests with expensive grammars of a few kilobytes each."""
    schemas = {
        "minProperties 200 of 400": _wide(400, minProperties=200),
        "maxProperties 100 of 200": _wide(200, maxProperties=100),
        "60 deep": _deep(60),
        "minItems 10,000": {"type": "array", "items": {"type": "integer"}, "minItems": 10_000},
        "maxItems 100,000": {"type": "array", "items": {"type": "string"}, "maxItems": 100_000},
        "minLength 100,000": {"type": "string", "minLength": 100_000},
        "maxLength 1,000,000": {"type": "string", "maxLength": 1_000_000},
        "an enum of 2,000": {"enum": [f"value {n}" for n in range(900)]},
        "anyOf in anyOf": {"anyOf": [{"anyOf": [_wide(8) for _ in range(8)]} for _ in range(4)]},
        "a $ref to itself": {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        "a $ref with CR LF": {"$ref": "#/$defs/\r\n{\"level\": \"error\", \"message\": \"forged\"}"},
        "a recursive tree": {
            "$defs": {"t": {"type": "object", "properties": {"l": {"$ref": "#/$defs/t"}}}},
            "$ref": "#/$defs/t",
        },
    }  # fmt: skip
    for name, schema in schemas.items():
        form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
        yield name, {"messages": _ASKED, "response_format": form, "max_tokens": 8}
    tools = [
        {"type": "function", "function": {"name": f"tool_{n}", "parameters": _wide(6)}} for n in range(128)
    ]
    yield (
        "128 tools, one forced",
        {"messages": _ASKED, "tools": tools, "tool_choice": "required", "max_tokens": 8},
    )


def ask(port: int, name: str, request: dict[str, Any]) -> Answer:
    body = json.dumps(request).encode()
    return exchange(port, name, [head_of(len(body)), body])


def ordinary_schema(port: int) -> Answer:
    """The ordinary request of another client meanwhile."""
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    return ask(port, "an ordinary schema", {"messages": _ASKED, "response_format": form, "max_tokens": 24})
