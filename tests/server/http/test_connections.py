"""Open connections stay below the limit of open files; idle ones make room, and probes still work."""

from __future__ import annotations

import asyncio
import base64
import errno
import io
import json
import resource
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from antiphon_server.config.settings import Limits, ServerSettings
from antiphon_server.exits import ExitCode, StartupError
from antiphon_server.http.connections import ConnectionKind, Connections
from antiphon_server.http.descriptors import (
    ConnectionLimits,
    connection_limits,
    descriptor_limit,
    raise_limit,
)
from antiphon_server.http.error_response import error_of, headers_of
from tests.machine import Patience
from tests.server import sink as sinks
from tests.server.process.test_serve import PATIENCE_S, Echo, echo
from tests.server.raw_http import connected, exchange, read_answer, serving
from tests.server.sink import POST, sink

pytestmark = pytest.mark.promise("R44")

GET = b"GET /v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n"
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Fake:
    """A connection that records whether it was dropped."""

    is_flushed = True

    def __init__(self) -> None:
        self.dropped = False

    def drop(self) -> None:
        self.dropped = True


def test_the_oldest_idle_connection_of_the_address_with_the_most_makes_room() -> None:
    all_of_them = Connections(ConnectionLimits(total=4, per_address=3, reserve=1))
    calm, *flood = Fake(), Fake(), Fake(), Fake()
    for one, host in zip((calm, *flood), "abbb", strict=True):
        assert all_of_them.add_connection(one, host) is ConnectionKind.ORDINARY
    all_of_them.mark_busy(flood[0])
    assert all_of_them.add_connection(Fake(), "c") is ConnectionKind.ORDINARY
    assert [one.dropped for one in (calm, *flood)] == [False, False, True, False]


def test_an_address_at_its_limit_makes_room_itself() -> None:
    all_of_them = Connections(ConnectionLimits(total=9, per_address=2, reserve=1))
    other, first, second, third = Fake(), Fake(), Fake(), Fake()
    for one, host in ((other, "a"), (first, "b"), (second, "b")):
        all_of_them.add_connection(one, host)
    all_of_them.mark_busy(first)
    all_of_them.mark_busy(second)
    all_of_them.mark_idle(first)
    assert all_of_them.add_connection(third, "b") is ConnectionKind.ORDINARY
    assert (other.dropped, first.dropped, second.dropped) == (False, True, False)


def test_while_all_are_busy_new_ones_get_the_reserve_and_push_out_the_oldest_of_it() -> None:
    all_of_them = Connections(ConnectionLimits(total=1, per_address=1, reserve=2))
    busy, *late = Fake(), Fake(), Fake(), Fake()
    all_of_them.add_connection(busy, "a")
    all_of_them.mark_busy(busy)
    assert [all_of_them.add_connection(one, "b") for one in late] == [ConnectionKind.PROBES] * 3
    assert [one.dropped for one in (busy, *late)] == [False, True, False, False]
    all_of_them.remove_connection(busy)
    assert all_of_them.add_connection(Fake(), "b") is ConnectionKind.ORDINARY


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("127.0.0.1", "127.0.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:0:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("", "", True),
    ],
)
def test_an_ipv6_network_counts_as_one_address(one: str, other: str, same: bool) -> None:
    all_of_them = Connections(ConnectionLimits(total=9, per_address=1, reserve=1))
    first, second = Fake(), Fake()
    all_of_them.add_connection(first, one)
    all_of_them.add_connection(second, other)
    assert first.dropped is same


@given(
    st.lists(st.tuples(st.sampled_from(["enter", "busy", "idle", "leave"]), st.integers(0, 9)), max_size=80)
)
def test_whatever_comes_and_goes_the_limits_hold_and_nothing_is_kept(story: list[tuple[str, int]]) -> None:
    all_of_them = Connections(ConnectionLimits(total=4, per_address=3, reserve=2))
    act = {
        "busy": all_of_them.mark_busy,
        "idle": all_of_them.mark_idle,
        "leave": all_of_them.remove_connection,
    }
    opened: list[tuple[Fake, str, ConnectionKind]] = []
    for action, number in story:
        there = [one for one, _, _ in opened]
        if action == "enter":
            one, host = Fake(), "abc"[number % 3]
            opened.append((one, host, all_of_them.add_connection(one, host)))
        elif there:
            one = there[number % len(there)]
            act[action](one)
            opened = [entry for entry in opened if action != "leave" or entry[0] is not one]
        opened = [entry for entry in opened if not entry[0].dropped]
        ordinary = [host for _, host, place in opened if place is ConnectionKind.ORDINARY]
        assert len(ordinary) <= 4
        assert max(map(ordinary.count, ordinary), default=0) <= 3
        assert len(opened) - len(ordinary) <= 2
    for one, _, _ in opened:
        all_of_them.remove_connection(one)
    for kept in (all_of_them._owners, all_of_them._counts, all_of_them._idle, all_of_them._reserve):
        assert not kept


def test_half_of_the_descriptors_stay_for_everything_else() -> None:
    for descriptors in (128, 256, 1024, 65_536):
        found = connection_limits(Limits(), descriptors)
        assert found.total + found.reserve <= descriptors // 2
        assert 1 <= found.per_address <= found.total
        assert found.reserve >= 8
    assert connection_limits(Limits(), 65_536) == ConnectionLimits(8192, 4096, 64)


def test_the_settings_decide_within_what_the_descriptors_allow() -> None:
    asked = Limits(connections=50, connections_per_address=99)
    assert connection_limits(asked, 1024) == ConnectionLimits(50, 50, 64)
    assert connection_limits(Limits(connections=56), 128).total == 56
    with pytest.raises(StartupError, match="connections is 57; 128 open files allow 56") as refused:
        connection_limits(Limits(connections=57), 128)
    assert refused.value.code == ExitCode.BAD_CONFIG
    with pytest.raises(StartupError, match="may open 127 files; at least 128"):
        connection_limits(Limits(), 127)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_a_shortage_of_descriptors_is_503_with_a_time_to_come_back(number: int) -> None:
    error = error_of(OSError(number, "Too many open files: /secret"))
    assert (error.status, error.code) == (503, "no_descriptor")
    assert headers_of(error)["retry-after"] == "2"
    assert "secret" not in error.message
    assert error_of(OSError(errno.EIO, "x")).status == 500
    wrapped = RuntimeError("connect failed")
    wrapped.__cause__ = OSError(number, "x")
    assert error_of(wrapped).status == 503


async def test_a_new_client_is_served_while_others_hold_idle_connections() -> None:
    async with sink({"connections": 6}) as (port, app), AsyncExitStack() as opened:
        idle = [await opened.enter_async_context(connected(port)) for _ in range(20)]
        await asyncio.sleep(0.2)
        for _, writer in idle[-3:]:
            writer.write(b"GET /v1/x HT")
        for _ in range(10):
            assert (await exchange(port, GET)).status == 200
        reader, _ = idle[0]
        assert await asyncio.wait_for(reader.read(), 60) == b""
    assert app.calls == 10


async def test_a_connection_that_is_being_answered_is_never_closed_for_another() -> None:
    limits = {"connections": 3, "connections_per_address": 3}
    async with sink(limits) as (port, app), AsyncExitStack() as opened:
        uploads = [await opened.enter_async_context(connected(port)) for _ in range(3)]
        for _, writer in uploads:
            writer.write(POST + b"Content-Length: 4\r\n\r\n[1")
        await asyncio.sleep(0.2)
        for _ in range(5):
            refused = await exchange(port, GET)
            assert (refused.status, sinks.error_of(refused)["code"]) == (503, "too_many_connections")
            assert (refused.headers["retry-after"], refused.headers["connection"]) == ("2", "close")
            alive = await exchange(port, LIVEZ)
            assert (alive.status, alive.headers["connection"]) == (200, "close")
        for reader, writer in uploads:
            writer.write(b",2")
            assert (await read_answer(reader)).status == 200
        assert (await exchange(port, GET)).status == 200
    assert app.calls == 3 + 5 + 1


async def test_a_connection_that_has_been_answered_is_idle_again() -> None:
    async with (
        sink({"connections": 2, "connections_per_address": 2}) as (port, _),
        AsyncExitStack() as opened,
    ):
        kept = [await opened.enter_async_context(connected(port)) for _ in range(2)]
        for _ in range(2):
            for reader, writer in kept:
                writer.write(GET)
                assert (await read_answer(reader)).status == 200
        assert (await exchange(port, GET)).status == 200
        assert await asyncio.wait_for(kept[0][0].read(), 60) == b""
        kept[1][1].write(GET)
        assert (await read_answer(kept[1][0])).status == 200


async def test_an_answer_that_its_client_still_reads_is_not_cut_for_another() -> None:
    whole = b"a" * (8 << 20)

    async def large(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(whole)(scope, receive, send)

    server = ServerSettings(limits=Limits(connections=1))
    async with serving(large, server) as port, connected(port) as (reader, writer):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(GET)
        await asyncio.sleep(0.3)
        async with connected(port) as (other, asking):
            asking.write(GET)
            await asyncio.sleep(0.1)
            other._transport.abort()  # type: ignore[attr-defined]
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        assert (await read_answer(reader)).body == whole


def picture() -> dict[str, Any]:
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}]
    return {"model": "echo", "messages": [{"role": "user", "content": content}]}


@contextmanager
def held(port: int, count: int, start: bytes) -> Iterator[list[socket.socket]]:
    """`count` connections, each of which sends `start` and then nothing."""
    with ExitStack() as opened:
        socks = []
        for _ in range(count):
            sock = opened.enter_context(socket.create_connection(("127.0.0.1", port), 5))
            try:
                sock.sendall(start)
            except OSError:
                continue
            socks.append(sock)
        yield socks


def ask_about_picture(running: Echo) -> httpx.Response:
    url = f"{running.url}/v1/chat/completions"
    return httpx.post(url, json=picture(), timeout=PATIENCE_S, verify=False)


def check_alive(running: Echo) -> None:
    patience = Patience(5)
    assert running.get("/livez").status_code == 200
    assert not patience.is_over()


IDLE = {"silent": b"", "half a head": b"POST /v1/x HTTP/1.1\r\nHost: localh", "answered": GET}


@pytest.mark.heavy
def test_with_256_descriptors_300_idle_connections_block_no_client(checkpoint: Path) -> None:
    with echo(checkpoint, ECHO_DESCRIPTORS="256") as running:
        running.wait_until_ready()
        port = int(running.url.rsplit(":", 1)[1])
        for start in IDLE.values():
            with held(port, 300, start):
                for _ in range(8):
                    check_alive(running)
                answer = ask_about_picture(running)
                assert answer.status_code == 200, answer.text
        check_alive(running)
        assert len([line for line in running.stderr if json.loads(line)["level"] == "warning"]) < 20


@pytest.mark.heavy
def test_with_256_descriptors_300_half_sent_bodies_leave_the_probes(checkpoint: Path) -> None:
    upload = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
    with echo(checkpoint, ECHO_DESCRIPTORS="256") as running:
        running.wait_until_ready()
        port = int(running.url.rsplit(":", 1)[1])
        with held(port, 300, upload):
            for _ in range(8):
                check_alive(running)
            for _ in range(3):
                answer = ask_about_picture(running)
                assert answer.status_code == 503
                assert answer.json()["error"]["code"] == "too_many_connections"
                assert answer.headers["retry-after"] == "2"
        answer = ask_about_picture(running)
        assert answer.status_code == 200


@pytest.mark.heavy
def test_with_256_descriptors_connections_that_come_all_at_once_are_accepted_one_by_one(
    checkpoint: Path,
) -> None:
    """More than the descriptors wait in the kernel's queue. Without one free, uvloop stops listening."""
    with echo(checkpoint, ECHO_DESCRIPTORS="256") as running, ExitStack() as opened:
        running.wait_until_ready()
        address = ("127.0.0.1", int(running.url.rsplit(":", 1)[1]))
        running.process.send_signal(signal.SIGSTOP)
        for _ in range(600):
            sock = opened.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(address)
        time.sleep(0.3)
        running.process.send_signal(signal.SIGCONT)
        check_alive(running)
        answer = ask_about_picture(running)
        assert answer.status_code == 200


@pytest.mark.heavy
def test_too_few_descriptors_are_said_in_one_line(checkpoint: Path) -> None:
    with echo(checkpoint, ECHO_DESCRIPTORS="100") as running:
        running.ends_with(ExitCode.BAD_CONFIG)
    assert "may open 100 files; at least 128 are needed" in "".join(running.stderr)


def test_the_limit_of_open_files_is_raised_to_what_the_system_allows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
        raise_limit()
        raised, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
        assert raised == descriptor_limit() == most
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
