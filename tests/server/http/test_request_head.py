"""Heads that a proxy could interpret differently."""

from __future__ import annotations

import pytest

from antiphon_server.errors import BadRequest
from antiphon_server.http.request_head import check_head

HOST = (b"host", b"localhost:8000")
CHUNKED = (b"transfer-encoding", b"chunked")

Field = tuple[bytes, bytes]


def refusal(
    *fields: Field, version: str = "1.1", method: bytes = b"GET", target: bytes = b"/v1/x"
) -> str | None:
    try:
        check_head(version, method, target, fields)
    except BadRequest as error:
        return error.code
    return None


@pytest.mark.parametrize("version", ["0.9", "2.0", "1.2", "3.0"])
def test_only_two_versions_are_read(version: str) -> None:
    assert refusal(HOST, version=version) == "invalid_http"
    assert refusal(HOST, version="1.0") is refusal(HOST) is None


def test_it_is_no_proxy() -> None:
    assert refusal(HOST, method=b"CONNECT", target=b"localhost:8000") == "invalid_http"
    assert refusal(HOST, method=b"CONNECT") == "invalid_http"


def test_there_is_one_host_and_in_old_http_at_most_one() -> None:
    assert refusal() == refusal(HOST, HOST) == refusal(HOST, HOST, version="1.0") == "invalid_host"
    assert refusal(version="1.0") is None


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b" a ",
        b"a",
        b"a_b",
        b"A.b-c",
        b"a:",
        b"a:80",
        b"127.0.0.1",
        b"[::1]",
        b"[::1]:80",
        b"[::ffff:1.2.3.4]",
    ],
)
def test_a_host_is_a_name_or_an_address_with_a_port(host: bytes) -> None:
    assert refusal((b"host", host)) is None


@pytest.mark.parametrize(
    "host",
    [
        b"a b",
        b"a/b",
        b"a?b",
        b"a#b",
        b"a@b",
        b"a\\b",
        b"a:b",
        b"a:123456",
        b"[a",
        b"::1",
        b"[g]",
        b"a:1:2",
        b"\xe9",
    ],
)
def test_a_host_is_nothing_else(host: bytes) -> None:
    assert refusal((b"host", host)) == "invalid_host"


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://a/x", b"a"),
        (b"http://a/x", b"A:80"),
        (b"http://A:80/x", b"a"),
        (b"http://a:81/x", b"a:81"),
        (b"https://a/x", b"a:443"),
        (b"https://a:443/x", b"a"),
        (b"http://[::1]:8/x", b"[::1]:8"),
        (b"http://[::1]/", b"[::1]"),
    ],
)
def test_an_absolute_target_agrees_with_the_host(target: bytes, host: bytes) -> None:
    assert refusal((b"host", host), target=target) is None


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://b/x", b"a"),
        (b"http://a:81/x", b"a"),
        (b"http://a/x", b"a:81"),
        (b"https://a/x", b"a:80"),
        (b"http://a:443/x", b"a:80"),
        (b"http://a/x", b""),
        (b"http://::1/x", b"[::1]"),
    ],
)
def test_an_absolute_target_does_not_name_another_host(target: bytes, host: bytes) -> None:
    assert refusal((b"host", host), target=target) in ("invalid_host", "invalid_http")


@pytest.mark.parametrize(
    "target",
    [b"*", b"", b"a:80", b"http://a", b"ftp://a/x", b"http://u@a/x", b"http://u:p@a/x", b"a/x", b"?x"],
)
def test_a_target_is_a_path_or_a_whole_url(target: bytes) -> None:
    assert refusal((b"host", b"a"), target=target) == "invalid_http"


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b" chunked "])
def test_chunked_is_read(coding: bytes) -> None:
    assert refusal(HOST, (b"transfer-encoding", coding)) is None


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"chunked, chunked", b"identity", b""])
def test_no_other_transfer_coding_is(coding: bytes) -> None:
    assert refusal(HOST, (b"transfer-encoding", coding)) == "transfer_coding_unsupported"


def test_chunked_comes_once_and_not_in_old_http() -> None:
    assert refusal(HOST, CHUNKED, CHUNKED) == "transfer_coding_unsupported"
    assert refusal(HOST, CHUNKED, version="1.0") == "transfer_coding_unsupported"
