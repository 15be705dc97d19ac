"""Multipart bodies: the same parts for every cut into pieces, and bounds on all that is kept in memory."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.errors import BadRequest
from antiphon_server.files.multipart import MultipartReader, PartData, PartEnd, PartStart

TYPE = b"multipart/form-data; boundary=cut"


def body_of(*parts: tuple[str, bytes]) -> bytes:
    written = [
        b"--cut\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + data + b"\r\n"
        for head, data in parts
    ]
    return b"".join(written) + b"--cut--\r\n"


def read(pieces: list[bytes], content_type: bytes = TYPE) -> list[tuple[PartStart, bytes]]:
    reader = MultipartReader(content_type)
    found: list[tuple[PartStart, bytes]] = []
    is_open = False
    for piece in pieces:
        for event in reader.read(piece):
            match event:
                case PartStart():
                    assert not is_open
                    is_open = True
                    found.append((event, b""))
                case PartData(data):
                    found[-1] = (found[-1][0], found[-1][1] + data)
                case PartEnd():
                    is_open = False
    assert reader.is_complete
    assert not is_open
    return found


@given(
    data=st.lists(
        st.one_of(
            st.binary(max_size=40), st.sampled_from([b"\r\n--cu", b"\r\n--", b"--cut", b"\r\n\r\n", b""])
        ),
        min_size=1,
        max_size=5,
    ),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_pieces_of_any_size_give_the_same_parts(data: list[bytes], cuts: list[int]) -> None:
    data = [one for one in data if b"\r\n--cut" not in b"\r\n" + one]
    body = body_of(*((f'name="n{number}"', one) for number, one in enumerate(data)))
    at = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    found = read([body[start:end] for start, end in pairwise(at)])
    assert [(start.name, value) for start, value in found] == [(f"n{n}", one) for n, one in enumerate(data)]


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ('name="file"; filename="a b.wav"', "a b.wav"),
        (r'name="file"; filename="say \"hi\".wav"', 'say "hi".wav'),
        ('name="file"; filename="say %22hi%22.wav"', 'say "hi".wav'),
        ("name=file; filename=plain.wav", "plain.wav"),
        # RFC 7578 forbids this form.
        ("name=\"file\"; filename*=UTF-8''na%C3%AFve.wav", None),
        ('name="file"; filename="naïve.wav"', "naïve.wav"),
        ('name="file"', None),
    ],
)
def test_the_file_name_of_each_kind_of_client_is_read(head: str, name: str | None) -> None:
    [(start, value)] = read([body_of((head, b"x"))])
    assert (start.name, start.filename, value) == ("file", name, b"x")


def test_a_quoted_boundary_is_read() -> None:
    body = body_of(('name="a"', b"1"))
    assert read([body], b'multipart/form-data; charset=utf-8; boundary="cut"')[0][1] == b"1"


@pytest.mark.parametrize(
    "body",
    [
        b"--cut\r\nContent-Disposition: form-data; name=a" + b"x" * 5_000,
        b"x" * 10_000,
        b"--cutter\r\n",
        b"--cut" + b" " * 10_000,
        b"--cut\r\nContent-Type: text/plain\r\n\r\n",
        b"--cut\r\n\r\nno head",
        b"--cut\r\nContent-Disposition: attachment; name=a\r\n\r\n",
        b"--cut\r\nContent-Disposition: form-data; filename=a\r\n\r\n",
        body_of(*[('name="a"', b"")] * 17),
    ],
)
def test_a_body_beyond_the_bounds_or_the_grammar_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        read([body])
    assert refused.value.code == "invalid_multipart"


def test_a_form_with_lists_has_as_many_parts_as_its_route_allows() -> None:
    reader = MultipartReader(TYPE, 18)
    assert len(reader.read(body_of(*[('name="a[]"', b"x")] * 18))) == 18 * 3
    with pytest.raises(BadRequest, match="more than 18 parts"):
        MultipartReader(TYPE, 18).read(body_of(*[('name="a[]"', b"x")] * 19))


def test_a_body_without_a_boundary_is_refused() -> None:
    with pytest.raises(BadRequest):
        MultipartReader(b"multipart/form-data")


def test_data_does_not_pile_up_while_a_part_is_open() -> None:
    reader = MultipartReader(TYPE)
    reader.read(b"--cut\r\nContent-Disposition: form-data; name=a\r\n\r\n")
    given = released = 0
    for _ in range(100):
        events = reader.read(b"\r\n-" * 20_000)
        given += 60_000
        released += sum(len(event.data) for event in events if isinstance(event, PartData))
        assert given - released < 10


def test_what_follows_the_last_boundary_is_dropped() -> None:
    reader = MultipartReader(TYPE)
    reader.read(body_of(('name="a"', b"1")) + b"x" * 10_000)
    assert reader.read(b"x" * 10_000) == []
    assert reader.is_complete
