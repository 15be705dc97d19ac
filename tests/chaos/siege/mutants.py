"""Valid requests with random mutations of their JSON, their bytes or their heads.

In: a random source and recordings. Out: a name and the pieces to send. Answers stay short: parsing is tested.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from tests.chaos.siege.exchange import head_of
from tests.e2e.recordings import Recordings

_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**63, 1e308, "", "x", "\ud800", "\0\r\n", "a" * 70_000, [], [[]], {}, {"type": "x"},
    "𝄞" * 300, "<|im_start|>", "data:image/png;base64,", "data:,", "http://127.0.0.1:1/x", "file:///etc/passwd",
    ["x"] * 600,
)  # fmt: skip


def _sources(recordings: Recordings) -> list[dict[str, Any]]:
    said = [{"role": "user", "content": "What is seven plus five?"}]
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": [1]}'}}
    schema = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}
    talk = [*said, {"role": "assistant", "content": None, "tool_calls": [call]}]
    talk += [{"role": "tool", "tool_call_id": "c", "content": "12"}]
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    return [
        {"messages": said, "temperature": 0.5, "top_p": 0.9, "stop": ["."], "seed": 1, "n": 2},
        {"messages": recordings.all_at_once(), "modalities": ["text"]},
        {"messages": talk, "tools": [tool], "tool_choice": "auto"},
        {"messages": said, "response_format": form},
        {"messages": said, "stream": True, "stream_options": {"include_usage": True}, "logprobs": True},
        {"messages": said, "modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}},
        {"messages": said, "logit_bias": {"5": 1}, "repetition_detection": {"max_pattern_size": 4}},
    ]  # fmt: skip


class Mutants:
    """An endless sequence, determined by the seed."""

    def __init__(self, recordings: Recordings, seed: int) -> None:
        self._dice = random.Random(seed)
        self._sources = _sources(recordings)
        self._ways: tuple[Callable[[dict[str, Any]], tuple[str, list[bytes]]], ...] = (
            self._in_the_json, self._in_the_json, self._in_the_json, self._in_the_bytes, self._in_the_head,
        )  # fmt: skip

    def __iter__(self) -> Iterator[tuple[str, list[bytes]]]:
        while True:
            source = {**copy.deepcopy(self._dice.choice(self._sources)), "max_tokens": 4}
            yield self._dice.choice(self._ways)(source)

    def _in_the_json(self, source: dict[str, Any]) -> tuple[str, list[bytes]]:
        names = []
        for _ in range(self._dice.choice((1, 1, 1, 2, 3))):
            path = self._dice.choice([path for path in _paths(source) if path])
            names.append(self._change(source, path))
        # A mutation may have removed the limit; the answer would never end.
        if source.get("max_tokens") in (None, 2**63):
            source["max_tokens"] = 4
        body = json.dumps(source).encode()
        return ", ".join(names), [head_of(len(body)), body]

    def _change(self, source: dict[str, Any], path: tuple[Any, ...]) -> str:
        *above, last = path
        place: Any = source
        for step in above:
            try:
                place = place[step]
            except (KeyError, IndexError, TypeError):
                return "nothing"
        try:
            match self._dice.randrange(4):
                case 0:
                    del place[last]
                    return f"without {path}"
                case 1 if isinstance(place, list):
                    place *= self._dice.choice((2, 40))
                    return f"more of {above}"
                case 2 if isinstance(place, dict):
                    place[self._dice.choice(("x", "type", "\ud800", "name"))] = place.pop(last)
                    return f"{path} under another name"
                case _:
                    value = self._dice.choice(_VALUES)
                    place[last] = copy.deepcopy(value)
                    return f"{path} is {ascii(value)[:40]}"
        except (KeyError, IndexError, TypeError):
            return "nothing"

    def _in_the_bytes(self, source: dict[str, Any]) -> tuple[str, list[bytes]]:
        body = bytearray(json.dumps(source).encode())
        for _ in range(self._dice.randint(1, 8)):
            at = self._dice.randrange(len(body))
            match self._dice.randrange(4):
                case 0:
                    body[at] = self._dice.randrange(256)
                case 1:
                    del body[at : at + self._dice.randint(1, 200)]
                case 2:
                    body[at:at] = self._dice.randbytes(self._dice.randint(1, 40))
                case _:
                    body[at:at] = self._dice.choice(
                        (b"[" * 300, b'{"a":' * 200, b"\\ud800", b"\xff\xfe", b"1e999")
                    )
            body = body or bytearray(b"x")
        return "changed bytes", [head_of(len(body)), bytes(body)]

    def _in_the_head(self, source: dict[str, Any]) -> tuple[str, list[bytes]]:
        body = json.dumps(source).encode()
        kinds = ("text/plain", "multipart/form-data; boundary=x", "application/xml", "", "a" * 400)
        match self._dice.randrange(5):
            case 0:
                kind = self._dice.choice(kinds)
                return f"content type {kind[:30]!r}", [head_of(len(body), content_type=kind), body]
            case 1:
                size = self._dice.choice((0, 1, len(body) // 2, len(body) - 1))
                return f"the first {size} bytes", [head_of(size), body[:size]]
            case 2:
                step = self._dice.randint(1, 4096)
                extension = self._dice.choice(("", ";a=b", ";" + "x" * 100))
                cut = [body[at : at + step] for at in range(0, len(body), step)]
                framed = [f"{len(one):x}{extension}\r\n".encode() + one + b"\r\n" for one in cut[:2000]]
                return f"chunks of {step}{extension[:8]}", [head_of(None), *framed, b"0\r\n\r\n"]
            case 3:
                lines = [
                    f"X-{number}: {'v' * self._dice.randint(0, 600)}"
                    for number in range(self._dice.randint(1, 60))
                ]
                return f"{len(lines)} more headers", [head_of(len(body), *lines), body]
            case _:
                path = self._dice.choice(
                    ("/v1/chat/completions/", "//v1/chat/completions", "/v1/x", "/", "/v1/%2e%2e")
                )
                return f"path {path}", [head_of(len(body), path=path), body]


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in `value`."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from _paths(one, (*path, key))
