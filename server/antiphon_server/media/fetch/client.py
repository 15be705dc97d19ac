"""Media that a request points to: one GET to an allowed host, at an address that was checked first.

In: a URL. Out: its bytes. Resolves once and connects to that very address, keeping the name for Host and TLS;
follows no redirect, uses no proxy, accepts no compression, and gives up on big, late or slow answers.
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

Take = Callable[[int], None]
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_MIB = 1 << 20
_SLOW_START_S = 2.0
_SEND_INLINE = "Send the file as base64 instead."


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """Addresses of a host, as text, in the system's order. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


@cache
def _authorities() -> ssl.SSLContext:
    """Whom TLS trusts. Read once: it takes as long as the event loop may be held."""
    return httpx.create_ssl_context(trust_env=False)


class Fetcher:
    """Fetches by the policy's rules. `resolve` is the name service, passed in for tests."""

    def __init__(self, policy: MediaPolicy, resolve: Resolve = resolve_by_system) -> None:
        self._policy = policy
        self._resolve = resolve

    async def fetch(self, url: str, part: Part, take: Take = no_reservation) -> bytes:
        """The body of a 200 answer, at most the policy's `part_bytes`. Raises BadRequest.

        `take` is called with the size of every piece as it arrives, and may refuse it.
        """
        target = parse(url)
        if target is None:
            raise part.bad("has a URL that is not a plain http or https URL", _SEND_INLINE)
        if not is_allowed_host(target, self._policy):
            raise part.bad(
                "is on a host that media may not be fetched from (--allowed-media-domains)",
                f"{_SEND_INLINE[:-1]}, or allow the host.",
                code="media_host_not_allowed",
            )
        try:
            async with asyncio.timeout(self._policy.fetch_s) as whole:
                address = await self._address(target, part)
                return await self._get(target, address, part, take)
        except TimeoutError:
            if whole.expired():
                limit = f"{self._policy.fetch_s:g} s"
                raise part.over("took too long to fetch", limit, "fetch_s", _SEND_INLINE) from None
            raise part.bad("comes too slowly from its host", _SEND_INLINE, "media_fetch_failed") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            if is_out_of_descriptors(error):
                raise
            raise part.bad("could not be fetched", _SEND_INLINE, "media_fetch_failed") from None

    async def _address(self, target: Target, part: Part) -> str:
        """One address; every address of the name must be allowed, so that none can be slipped in."""
        addresses = await self._resolve(target.host, target.port)
        if not addresses or not all(is_allowed_address(address, self._policy) for address in addresses):
            raise part.bad(
                "is on a host with an address that media may not be fetched from (--media-fetch-networks)",
                f"{_SEND_INLINE[:-1]}, or allow the network.",
                code="media_host_not_allowed",
            )
        return addresses[0]

    async def _get(self, target: Target, address: str, part: Part, take: Take) -> bytes:
        literal = f"[{address}]" if ":" in address else address
        url = f"{target.scheme}://{literal}:{target.port}{target.path}"
        headers = {"Host": target.authority, "Accept-Encoding": "identity", "User-Agent": "antiphon"}
        # A client per fetch: a kept connection could serve another name at the same address.
        async with httpx.AsyncClient(
            verify=await asyncio.to_thread(_authorities),
            trust_env=False,
            follow_redirects=False,
            timeout=self._policy.fetch_s,
        ) as client:
            sni = {"sni_hostname": target.host}
            request = client.build_request("GET", url, headers=headers, extensions=sni)
            async with asyncio.timeout(self._policy.fetch_first_byte_s):
                answer = await client.send(request, stream=True)
            try:
                self._check_answer(answer, part)
                return await self._read(answer, part, take)
            finally:
                await answer.aclose()

    def _check_answer(self, answer: httpx.Response, part: Part) -> None:
        if answer.status_code != 200:
            what = f"could not be fetched: its host answered {answer.status_code}"
            raise part.bad(what, "Redirects are not followed; give the final URL.", "media_fetch_failed")
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise part.bad("came compressed from its host", _SEND_INLINE, "media_fetch_failed")
        length = answer.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._policy.part_bytes:
            raise self._too_big(part)

    async def _read(self, answer: httpx.Response, part: Part, take: Take) -> bytes:
        """The body, under a deadline that moves on as bytes come in."""
        clock = asyncio.get_running_loop().time
        started = clock()
        body = bytearray()
        async with asyncio.timeout(self._policy.fetch_first_byte_s) as patience:
            async for piece in answer.aiter_raw():
                take(len(piece))
                body += piece
                if len(body) > self._policy.part_bytes:
                    raise self._too_big(part)
                if self._policy.fetch_bytes_per_s:
                    earned_s = len(body) / self._policy.fetch_bytes_per_s
                    patience.reschedule(started + _SLOW_START_S + earned_s)
        return bytes(body)

    def _too_big(self, part: Part) -> BadRequest:
        limit = f"{self._policy.part_bytes / _MIB:g} MiB"
        fix = "Compress or split the file, or raise the limit."
        return part.over("is too big", limit, "part_bytes", fix)
