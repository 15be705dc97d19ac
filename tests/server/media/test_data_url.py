"""Base64 in a request is read as browsers read it, and measured before it is decoded."""

from __future__ import annotations

import base64
import contextlib
import tracemalloc
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.errors import BadRequest
from antiphon_server.media.budget import Budget
from antiphon_server.media.data_url import check_inline, decode_inline
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.source import MediaKind
from tests.server.media.media_samples import part

POLICY = MediaPolicy(part_bytes=1_000, request_bytes=1_500)
ONE = Part(part("audio", ""), 1)


def read(location: str, budget: Budget | None = None) -> bytes:
    start = check_inline(location, ONE, POLICY, budget or Budget(POLICY))
    return decode_inline(location, start, ONE)


@given(st.binary(min_size=1, max_size=1_000))
def test_what_was_encoded_comes_back(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    budget = Budget(POLICY)
    assert read(text, budget) == data
    assert budget.encoded_bytes_left == 1_500 - len(data)


@pytest.mark.parametrize(
    "head",
    ["", "data:audio/wav;base64,", "data:;base64,", "data:;BASE64,",
     "DATA:image/svg+xml;charset=utf-8;base64,",
     "data:audio/webm;codecs=opus;base64,",
     "data:audio/ogg; codecs=opus;base64,",
     "data:video/webm;codecs=vp8,opus;base64,",
     'data:video/mp4; codecs="avc1.42E01E, mp4a.40.2"; base64,',
     "data:audio/mpeg;name=my%20song (1).mp3;base64 ,",
     "data:a b;base64,"],
)  # fmt: skip
def test_data_urls_of_every_client_are_read(head: str) -> None:
    assert read(f"{head}aGVsbG8=") == b"hello"


@pytest.mark.parametrize(
    "location",
    ["data:audio/wav,hello", "data:audio/wav;base64", "data:", "data:;base64;aGVsbG8=",
     "data:" + "a" * 1030 + ";base64,aGVsbG8="],
)  # fmt: skip
def test_other_data_urls_are_refused(location: str) -> None:
    with pytest.raises(BadRequest, match="audio part 1 is not a base64 data URL"):
        read(location)


@pytest.mark.parametrize(
    ("kind", "example"), [("audio", "audio/wav"), ("image", "image/png"), ("video", "video/mp4")]
)
def test_the_example_in_a_refusal_is_of_the_parts_own_kind(kind: MediaKind, example: str) -> None:
    with pytest.raises(BadRequest, match=f"Write it as data:{example};base64,"):
        check_inline("data:x", Part(part(kind, ""), 1), POLICY, Budget(POLICY))


@pytest.mark.parametrize("head", ["", "data:audio/wav;base64,"])
@pytest.mark.parametrize(
    "text",
    ["aGVsbG8", "aGVsbG8=\n", "aGVs\nbG8=", "aGVs\r\nbG8=\r\n", " aGVs bG8= ", "aGVs\tbG8", "aGVsbG8%3D"],
)
def test_white_space_and_missing_padding_do_no_harm(head: str, text: str) -> None:
    assert read(head + text) == b"hello"


def test_base64_in_lines_is_measured_without_its_line_breaks() -> None:
    budget = Budget(POLICY)
    data = bytes(1_000)
    assert read(base64.encodebytes(data).decode(), budget) == data
    assert budget.encoded_bytes_left == 500


@pytest.mark.parametrize(
    "text", ["aGVsbG8-", "aGVsbG8_", "ÄGVsbG8=", "a===", "aGVsbG8==", "aG=VsbG8", "\0GVsbG8="]
)
def test_what_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="audio part 1 is not valid base64"):
        read(text)


@pytest.mark.parametrize("text", ["", "=", "==", "data:;base64,"])
def test_nothing_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="audio part 1 is empty"):
        read(text)


def test_a_part_that_is_too_big_is_refused_before_it_is_decoded() -> None:
    """The text is not even base64, which only a decoder could find out."""
    with pytest.raises(BadRequest, match=r"limit is .* MiB \(--media-part-bytes\)") as refusal:
        read("!" * 1_400)
    assert refusal.value.code == "media_limit_exceeded"
    assert refusal.value.param == ONE.source.param


def test_parts_that_are_too_big_together_are_refused() -> None:
    budget = Budget(POLICY)
    text = base64.b64encode(bytes(900)).decode()
    read(text, budget)
    with pytest.raises(BadRequest, match=r"--media-request-bytes"):
        read(text, budget)


def test_what_encoders_of_urls_escape_is_read() -> None:
    data = b"\xfb\xef\xbe\xff\xff"
    text = base64.b64encode(data).decode()
    assert {"+", "/", "="} <= set(text)
    assert read(f"data:audio/wav;base64,{quote(text, safe='')}%0d%0A%20") == data


@pytest.mark.parametrize("text", ["%2B", "%41"])
def test_escapes_take_no_more_memory_than_a_few_copies_of_the_text(text: str) -> None:
    text *= 300_000
    tracemalloc.start()
    try:
        with contextlib.suppress(BadRequest):
            decode_inline(text, 0, ONE)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(text)
    finally:
        tracemalloc.stop()
