"""Check of a request's head beyond the HTTP parser's own checks.

A head that a proxy could interpret differently is refused: two hosts, a target on another host, or an
unknown transfer coding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import httptools

from antiphon_server.errors import BadRequest

Headers = Sequence[tuple[bytes, bytes]]

# RFC 3986: an IP literal in brackets or a registered name, then perhaps a port.
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+,;=-]*)(?::[0-9]{0,5})?")
_DEFAULT_PORTS = {b"http": 80, b"https": 443}


def check_head(version: str, method: bytes, target: bytes, headers: Headers) -> None:
    """Raises `BadRequest` if the head is ambiguous or not supported."""
    if version not in ("1.0", "1.1"):
        raise BadRequest("this version of HTTP is not supported; use HTTP/1.1", code="invalid_http")
    if method == b"CONNECT":
        raise BadRequest("this server is not a proxy", code="invalid_http")
    host = _only_host(version, headers)
    if not target.startswith(b"/"):
        _check_absolute(target, host)
    _check_transfer_coding(version, headers)


def _only_host(version: str, headers: Headers) -> bytes:
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1:
        raise BadRequest("the request has more than one Host header", code="invalid_host")
    if not hosts and version == "1.1":
        raise BadRequest("the request has no Host header", code="invalid_host")
    host = hosts[0].strip() if hosts else b""
    if not _HOST.fullmatch(host):
        raise BadRequest("the Host header is not a host name with an optional port", code="invalid_host")
    return host


def _check_absolute(target: bytes, host: bytes) -> None:
    """`GET http://host/path`: proxies use the target and applications use the header, so they must agree."""
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        raise BadRequest("the request target is not valid", code="invalid_http") from None
    port = _DEFAULT_PORTS.get(url.schema)
    if port is None or url.path is None or url.userinfo is not None:
        raise BadRequest("the request target is not valid", code="invalid_http")
    name = b"[%s]" % url.host if b":" in url.host else url.host
    accepted = {b"%s:%d" % (name.lower(), url.port or port)}
    if (url.port or port) == port:
        accepted.add(name.lower())
    if host.lower() not in accepted:
        raise BadRequest("the request target and the Host header name different hosts", code="invalid_host")


def _check_transfer_coding(version: str, headers: Headers) -> None:
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and (version == "1.0" or codings != [b"chunked"]):
        raise BadRequest(
            "the only supported transfer coding is 'chunked', in HTTP/1.1",
            code="transfer_coding_unsupported",
        )
