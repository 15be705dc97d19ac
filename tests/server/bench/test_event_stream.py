"""Events come out whole, in order, and with the piece that completes them, wherever the bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.bench.load import event_stream
from antiphon_server.bench.load.event_stream import EventReader, EventTooLong

DATA = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1).map(
    str.encode
)


@given(st.lists(DATA), st.sampled_from([b"\n", b"\r\n"]), st.lists(st.integers(0, 2_000)))
def test_events_survive_any_cut(events: list[bytes], end: bytes, cuts: list[int]) -> None:
    body = b"".join(b"data: " + data + end + end for data in events)
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    reader = EventReader()
    found = [data for a, b in itertools.pairwise(edges) for data in reader.feed(body[a:b])]
    assert found == events


def test_an_event_is_there_with_its_blank_line_and_not_later() -> None:
    reader = EventReader()
    assert list(reader.feed(b'data: {"a"')) == []
    assert list(reader.feed(b": 1}\n")) == []
    assert list(reader.feed(b"\ndata: next")) == [b'{"a": 1}']


def test_comments_and_other_fields_are_passed_over_and_lines_joined() -> None:
    body = b": keep-alive\n\nevent: x\nid: 7\ndata:one\ndata: two\n\n"
    assert list(EventReader().feed(body)) == [b"one\ntwo"]


def test_a_body_without_an_end_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "MAX_EVENT_BYTES", 100)
    reader = EventReader()
    list(reader.feed(b"x" * 90))
    with pytest.raises(EventTooLong):
        list(reader.feed(b"x" * 90))
