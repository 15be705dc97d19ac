"""Fetching media from local servers, well-behaved and hostile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from ipaddress import ip_network

import httpx
import numpy as np
import pytest
from PIL import Image

from antiphon_server.errors import BadRequest
from antiphon_server.http.error_response import error_of
from antiphon_server.media.fetch.client import Fetcher
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from tests.server.media.media_samples import image_file, part, pixels_of, wav

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
ONE = Part(part("audio", ""), 1)
LOOPBACK = (ip_network("127.0.0.0/8"),)


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server on loopback; yields its port and the request heads that it got."""
    heads: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            await answer(heads[-1], writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heads
    finally:
        server.close()


def fetcher(port: int, *addresses: str, **limits: object) -> Fetcher:
    """A fetcher that may reach `media.test` on `port`, a name that resolves to `addresses`."""
    settings = {
        "fetch_hosts": (f"media.test:{port}",),
        "fetch_networks": LOOPBACK,
        "part_bytes": 100_000,
    } | limits
    asked = list(addresses or ("127.0.0.1",))

    async def resolve(host: str, _: int) -> Sequence[str]:
        assert host == "media.test"
        return asked

    return Fetcher(MediaPolicy.model_validate(settings), resolve)


async def fetch(fetcher: Fetcher, port: int, path: str = "/a.wav") -> bytes:
    return await fetcher.fetch(f"http://media.test:{port}{path}", ONE)


async def never() -> None:
    """The host sends no more. No test waits for it: each error names the limit that was reached."""
    await asyncio.Event().wait()


async def send_hello(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


async def test_an_allowed_url_is_fetched_by_its_checked_address() -> None:
    async with serving(send_hello) as (port, heads):
        assert await fetch(fetcher(port), port, "/x/y?z=1") == b"hello"
    assert heads[0].startswith(b"GET /x/y?z=1 HTTP/1.1\r\n")
    assert f"host: media.test:{port}\r\n".encode() in heads[0].lower()
    assert b"accept-encoding: identity\r\n" in heads[0].lower()


async def test_a_fetch_without_a_free_descriptor_is_not_the_requests_fault() -> None:
    async with serving(send_hello) as (port, _):
        fetching = fetcher(port)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        with ExitStack() as undo:
            undo.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
            resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
            with contextlib.suppress(OSError):
                while True:
                    undo.callback(os.close, os.dup(0))
            with pytest.raises((OSError, httpx.HTTPError)) as raised:
                await fetch(fetching, port)
    assert error_of(raised.value).code == "no_descriptor"


async def test_media_from_a_url_reaches_the_model() -> None:
    data = wav(np.full((1, 8_000), 0.25), 16_000)

    async def send_wav(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)

    async with serving(send_wav) as (port, _):
        loader = MediaLoader(MediaPolicy(), fetcher(port))
        await loader.start()
        try:
            media = await loader.load([part("audio", f"http://media.test:{port}/a.wav")])
        finally:
            await loader.close()
    assert np.all(media.audios[0].samples == 0.25)


async def test_urls_are_off_by_default(loader: MediaLoader) -> None:
    with pytest.raises(BadRequest, match=r"may not be fetched \(--allowed-media-domains\)") as refusal:
        await loader.load([part("image", "https://example.org/a.png")])
    assert refusal.value.code == "media_host_not_allowed"


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "http://user@example.org/", "ftp://example.org/a.wav"]
)
async def test_odd_urls_are_refused(loader: MediaLoader, location: str) -> None:
    with pytest.raises(BadRequest, match="is not a plain http or https URL"):
        await loader.load([part("audio", location)])


@pytest.mark.parametrize("networks", [(), (ip_network("10.0.0.0/8"),)])
@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("::ffff:127.0.0.1",), ("8.8.8.8", "127.0.0.1"), ()])
async def test_an_allowed_name_cannot_resolve_to_a_private_address(
    networks: object, addresses: tuple[str, ...]
) -> None:
    """Rebinding: the name is right, its address is not; nothing is connected to."""
    async with serving(send_hello) as (port, heads):
        inside = fetcher(port, fetch_networks=networks)

        async def resolve(_: str, __: int) -> Sequence[str]:
            return addresses

        inside._resolve = resolve
        with pytest.raises(BadRequest, match="--media-fetch-networks"):
            await fetch(inside, port)
    assert heads == []


async def test_a_name_is_resolved_once_and_its_address_kept() -> None:
    answers = [["127.0.0.1"], ["10.0.0.1"]]

    async def resolve(_: str, __: int) -> Sequence[str]:
        return answers.pop(0)

    async with serving(send_hello) as (port, _):
        once = fetcher(port)
        once._resolve = resolve
        assert await fetch(once, port) == b"hello"
    assert len(answers) == 1


async def test_redirects_are_not_followed() -> None:
    async def redirect(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /inside\r\nContent-Length: 0\r\n\r\n")

    async with serving(redirect) as (port, heads):
        with pytest.raises(BadRequest, match="answered 302"):
            await fetch(fetcher(port), port)
    assert len(heads) == 1


async def test_an_endless_body_is_cut_off_at_the_limit() -> None:
    sent = 0

    async def endless(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(10_000))
            sent += 10_000
            await writer.drain()

    async with serving(endless) as (port, _):
        with pytest.raises(BadRequest, match="--media-part-bytes"):
            await fetch(fetcher(port), port)
    assert sent < 20_000_000


@pytest.mark.parametrize(
    ("length", "match"), [(b"100001", "--media-part-bytes"), (b"9" * 40, "could not be fetched")]
)
async def test_a_body_with_a_too_large_content_length_is_not_read(length: bytes, match: str) -> None:
    async def announce(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\n")
        await never()

    async with serving(announce) as (port, _):
        with pytest.raises(BadRequest, match=match):
            await fetch(fetcher(port), port)


async def test_a_body_shorter_than_announced_is_refused() -> None:
    async def short(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")

    async with serving(short) as (port, _):
        with pytest.raises(BadRequest, match="could not be fetched"):
            await fetch(fetcher(port), port)


async def test_a_compressed_body_is_refused() -> None:
    async def compress(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello")

    async with serving(compress) as (port, _):
        with pytest.raises(BadRequest, match="arrived compressed"):
            await fetch(fetcher(port), port)


async def test_a_server_that_sends_nothing_times_out() -> None:
    async def wait(_: bytes, __: asyncio.StreamWriter) -> None:
        await never()

    async with serving(wait) as (port, _):
        with pytest.raises(BadRequest, match="arrives too slowly"):
            await fetch(fetcher(port, fetch_first_byte_s=0.2), port)


async def drip(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def test_a_server_that_sends_too_slowly_times_out() -> None:
    async with serving(drip) as (port, _):
        with pytest.raises(BadRequest, match="arrives too slowly"):
            await fetch(fetcher(port), port)


async def test_the_whole_fetch_has_a_deadline() -> None:
    async with serving(drip) as (port, _):
        with pytest.raises(BadRequest, match=r"took too long to fetch; limit is 0.5 s \(--media-fetch-s\)"):
            await fetch(fetcher(port, fetch_s=0.5, fetch_bytes_per_s=0), port)


async def test_a_closed_port_is_one_clear_error() -> None:
    async with serving(send_hello) as (port, _):
        pass
    with pytest.raises(BadRequest, match="audio part 1 could not be fetched") as refusal:
        await fetch(fetcher(port), port)
    assert "127.0.0.1" not in refusal.value.message


async def test_frame_urls_are_fetched_concurrently_up_to_the_limit() -> None:
    frame = image_file(Image.new("RGB", (40, 40)), "PNG")
    waiting, most = 0, 0
    full = asyncio.Event()

    async def send_frame(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        if waiting == 4:
            full.set()
        # Sequential fetches would wait here until the timeout.
        await full.wait()
        # Time for more to come, if they may.
        await asyncio.sleep(0.3)
        waiting -= 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(frame) + frame)

    async with serving(send_frame) as (port, _):
        loader = MediaLoader(MediaPolicy(request_fetches=4), fetcher(port))
        await loader.start()
        try:
            urls = [f"http://media.test:{port}/{index}.png" for index in range(12)]
            media = await loader.load([part("video", *urls, is_frame_list=True)])
        finally:
            await loader.close()
    assert len(media.videos[0].frames) == 12
    assert most == 4


async def test_frames_keep_their_order_if_they_arrive_late() -> None:
    levels = [10, 20, 30, 40]

    async def send_frame(head: bytes, writer: asyncio.StreamWriter) -> None:
        index = int(head.split(b"/")[1].split(b".")[0])
        await asyncio.sleep(0.05 * (len(levels) - index))
        frame = image_file(Image.new("L", (40, 40), levels[index]), "PNG")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(frame) + frame)

    async with serving(send_frame) as (port, _):
        loader = MediaLoader(MediaPolicy(), fetcher(port))
        await loader.start()
        try:
            urls = [f"http://media.test:{port}/{index}.png" for index in range(len(levels))]
            media = await loader.load([part("video", *urls, is_frame_list=True)])
            frames = pixels_of(media.videos[0])
        finally:
            await loader.close()
    assert frames[:, 0, 0, 0].tolist() == levels


async def test_concurrent_fetches_are_charged_as_bytes_arrive() -> None:
    """Each of the fetches alone would fit."""
    sent = 0

    async def send_much(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n")
        for _ in range(90):
            writer.write(bytes(1_000))
            await writer.drain()
            sent += 1_000
            await asyncio.sleep(0.01)

    async with serving(send_much) as (port, _):
        loader = MediaLoader(MediaPolicy(request_bytes=100_000), fetcher(port))
        await loader.start()
        try:
            urls = [f"http://media.test:{port}/{index}.png" for index in range(8)]
            with pytest.raises(BadRequest, match=r"\(--media-request-bytes\)"):
                await loader.load([part("video", *urls, is_frame_list=True)])
        finally:
            await loader.close()
    assert sent < 200_000
