"""Events are complete, ordered, and yielded with the piece that completes them, for any cut of the bytes."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.bench.load import event_stream
from antiphon_server.bench.load.event_stream import EventTooLong, timed_events

DATA = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)


class Body(httpx.AsyncByteStream):
    """Pieces of a body, `wait_s` before each."""

    def __init__(self, pieces: list[bytes], wait_s: float = 0.0) -> None:
        self.pieces = pieces
        self.wait_s = wait_s
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            if self.wait_s:
                await asyncio.sleep(self.wait_s)
            self.sent += 1
            yield piece


def response(body: Body) -> httpx.Response:
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=body)


async def read_events(*pieces: bytes) -> list[str]:
    return [data async for data, _ in timed_events(response(Body(list(pieces))))]


@given(st.lists(DATA), st.sampled_from([b"\n", b"\r\n"]), st.lists(st.integers(0, 2_000)))
def test_events_survive_any_cut(events: list[str], end: bytes, cuts: list[int]) -> None:
    body = b"".join(b"data: " + data.encode() + end + end for data in events)
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[a:b] for a, b in itertools.pairwise(edges)]
    assert asyncio.run(read_events(*pieces)) == events


async def test_an_event_is_there_with_its_blank_line_and_not_later() -> None:
    body = Body([b'data: {"a"', b": 1}\n", b"\ndata: next", b"\n\n"])
    events = timed_events(response(body))
    assert (await anext(events))[0] == '{"a": 1}'
    assert body.sent == 3
    await events.aclose()


async def test_comments_and_other_fields_are_passed_over_and_lines_joined() -> None:
    assert await read_events(b": keep-alive\n\nevent: x\nid: 7\ndata:one\ndata: two\n\n: more\n\n") == [
        "one\ntwo"
    ]


async def test_an_event_has_the_time_at_which_its_last_byte_was_read() -> None:
    """Also if the events of one piece are handled slowly."""
    began, times = time.monotonic(), []
    body = Body([b"data: a\n\ndata: b\n\nda", b"ta: c\n\n"], wait_s=0.05)
    async for _, at in timed_events(response(body)):
        times.append(at - began)
        time.sleep(0.03)  # noqa: ASYNC251
    assert times[0] == times[1] >= 0.05
    assert times[2] - times[1] >= 0.05


async def test_a_body_without_an_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "MAX_EVENT_BYTES", 100)
    assert await read_events(*[b"data: " + b"x" * 80 + b"\n\n"] * 3) == ["x" * 80] * 3
    with pytest.raises(EventTooLong):
        await read_events(b"x" * 90, b"x" * 90)
