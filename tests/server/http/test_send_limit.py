"""The time limit on each send: late sends end, others cost no timer, and cancellations go on."""

from __future__ import annotations

import asyncio

import pytest

from antiphon_server.http.send_limit import ClientStalled, SendLimit
from tests.simulated_time import on_simulated_time


async def test_a_send_that_takes_too_long_is_a_stalled_client() -> None:
    limit = SendLimit(0.05)
    with pytest.raises(ClientStalled):
        await limit.wait_for(asyncio.Event().wait())  # type: ignore[arg-type]
    assert limit.expired
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


@on_simulated_time
async def test_the_limit_counts_from_each_send_and_not_from_the_first() -> None:
    limit = SendLimit(0.2)
    for _ in range(6):
        await limit.wait_for(asyncio.sleep(0.1))
    assert not limit.expired
    with pytest.raises(ClientStalled):
        await limit.wait_for(asyncio.sleep(5))


async def test_many_sends_share_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, timers = asyncio.get_running_loop(), []
    call_at = loop.call_at
    monkeypatch.setattr(loop, "call_at", lambda *args: timers.append(args) or call_at(*args))
    limit = SendLimit(30)
    for _ in range(1_000):
        await limit.wait_for(_nothing())
    assert len(timers) == 1
    limit.close()


@on_simulated_time
async def test_a_pause_between_sends_is_not_the_clients() -> None:
    limit = SendLimit(0.05)
    await limit.wait_for(_nothing())
    await asyncio.sleep(0.15)
    await limit.wait_for(_nothing())
    assert not limit.expired


async def test_a_cancellation_from_elsewhere_is_no_stalled_client() -> None:
    limit = SendLimit(30)
    sending = asyncio.create_task(limit.wait_for(asyncio.sleep(5)))
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert not limit.expired
    limit.close()


async def _nothing() -> None:
    pass
