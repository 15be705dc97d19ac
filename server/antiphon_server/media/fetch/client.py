"""HTTP client for media URLs: one GET request to an allowed host at a checked address.

It resolves the name once and connects to that address, with the name in Host and TLS. It follows no redirect,
uses no proxy, accepts no compression, and aborts responses that are too large, too late or too slow.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import cache

import httpx

from antiphon_server.errors import BadRequest, is_out_of_descriptors
from antiphon_server.media.budget import no_reservation
from antiphon_server.media.fetch.url_policy import Target, is_allowed_address, is_allowed_host, parse
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy

ChargeBytes = Callable[[int], None]
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_MIB = 1 << 20
_SLOW_START_S = 2.0
_SEND_INLINE = "Send the file as base64 instead."


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """The addresses of a host as text, in the system's order. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


@cache
def _tls_context() -> ssl.SSLContext:
    """The trusted certificate authorities. Loading takes tens of milliseconds, so it happens once."""
    return httpx.create_ssl_context(trust_env=False)


class Fetcher:
    """Fetches media under the policy's limits. `resolve`: the name resolution, replaceable in tests."""

    def __init__(self, policy: MediaPolicy, resolve: Resolve = resolve_by_system) -> None:
        self._policy = policy
        self._resolve = resolve

    async def fetch(self, url: str, part: Part, charge: ChargeBytes = no_reservation) -> bytes:
        """The body of a response with status 200, at most `part_bytes` of the policy. Raises BadRequest.

        `charge` is called with the size of each piece as it arrives, and may raise.
        """
        target = parse(url)
        if target is None:
            raise part.invalid_error("has a URL that is not a plain http or https URL", _SEND_INLINE)
        if not is_allowed_host(target, self._policy):
            raise part.invalid_error(
                "is on a host from which media may not be fetched (--allowed-media-domains)",
                f"{_SEND_INLINE[:-1]}, or allow the host.",
                code="media_host_not_allowed",
            )
        try:
            async with asyncio.timeout(self._policy.fetch_s) as deadline:
                address = await self._address(target, part)
                return await self._get(target, address, part, charge)
        except TimeoutError:
            if deadline.expired():
                limit = f"{self._policy.fetch_s:g} s"
                raise part.limit_error("took too long to fetch", limit, "fetch_s", _SEND_INLINE) from None
            raise part.invalid_error(
                "arrives too slowly from its host", _SEND_INLINE, "media_fetch_failed"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            if is_out_of_descriptors(error):
                raise
            raise part.invalid_error("could not be fetched", _SEND_INLINE, "media_fetch_failed") from None

    async def _address(self, target: Target, part: Part) -> str:
        """The first address. All addresses of the name must be allowed, not only this one."""
        addresses = await self._resolve(target.host, target.port)
        if not addresses or not all(is_allowed_address(address, self._policy) for address in addresses):
            raise part.invalid_error(
                "is on a host with an address from which media may not be fetched (--media-fetch-networks)",
                f"{_SEND_INLINE[:-1]}, or allow the network.",
                code="media_host_not_allowed",
            )
        return addresses[0]

    async def _get(self, target: Target, address: str, part: Part, charge: ChargeBytes) -> bytes:
        literal = f"[{address}]" if ":" in address else address
        url = f"{target.scheme}://{literal}:{target.port}{target.path}"
        headers = {"Host": target.authority, "Accept-Encoding": "identity", "User-Agent": "antiphon"}
        # A new client per fetch: a reused connection could serve another name at the same address.
        async with httpx.AsyncClient(
            verify=await asyncio.to_thread(_tls_context),
            trust_env=False,
            follow_redirects=False,
            timeout=self._policy.fetch_s,
        ) as client:
            sni = {"sni_hostname": target.host}
            request = client.build_request("GET", url, headers=headers, extensions=sni)
            async with asyncio.timeout(self._policy.fetch_first_byte_s):
                response = await client.send(request, stream=True)
            try:
                self._check_headers(response, part)
                return await self._read_body(response, part, charge)
            finally:
                await response.aclose()

    def _check_headers(self, response: httpx.Response, part: Part) -> None:
        if response.status_code != 200:
            what = f"could not be fetched: its host answered {response.status_code}"
            raise part.invalid_error(
                what, "Redirects are not followed; give the final URL.", "media_fetch_failed"
            )
        if response.headers.get("content-encoding", "identity") != "identity":
            raise part.invalid_error("arrived compressed from its host", _SEND_INLINE, "media_fetch_failed")
        length = response.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._policy.part_bytes:
            raise self._too_large_error(part)

    async def _read_body(self, response: httpx.Response, part: Part, charge: ChargeBytes) -> bytes:
        """The body, under a deadline that moves forward as bytes arrive."""
        clock = asyncio.get_running_loop().time
        started = clock()
        body = bytearray()
        async with asyncio.timeout(self._policy.fetch_first_byte_s) as body_deadline:
            async for piece in response.aiter_raw():
                charge(len(piece))
                body += piece
                if len(body) > self._policy.part_bytes:
                    raise self._too_large_error(part)
                if self._policy.fetch_bytes_per_s:
                    allowed_s = len(body) / self._policy.fetch_bytes_per_s
                    body_deadline.reschedule(started + _SLOW_START_S + allowed_s)
        return bytes(body)

    def _too_large_error(self, part: Part) -> BadRequest:
        limit = f"{self._policy.part_bytes / _MIB:g} MiB"
        fix = "Compress or split the file, or raise the limit."
        return part.limit_error("is too large", limit, "part_bytes", fix)
