"""Memory of all conversations of a server: counted as they grow, refused when it is full, given back."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import numpy as np
import pytest

from antiphon_server.config.realtime import RealtimePolicy
from antiphon_server.errors import Overloaded
from antiphon_server.http.app import create_app
from antiphon_server.realtime.memory import MemoryAccount, RealtimeMemory
from antiphon_server.realtime.open_response import Outcome
from tests.server.exchange import becomes_true
from tests.server.parts import make_service
from tests.server.realtime.machines import PUSH_TO_TALK, make_machine, send, silence, start
from tests.server.realtime_client import RealtimeClient, tone


def test_accounts_share_one_limit() -> None:
    memory = RealtimeMemory(1_000)
    one, two = MemoryAccount(memory), MemoryAccount(memory)
    one.hold(600)
    two.hold(300)
    two.check(100)
    with pytest.raises(Overloaded):
        two.check(101)
    one.hold(500)
    two.check(200)
    one.close()
    assert memory.held == 300


def test_input_answers_and_items_are_counted_and_deleted_ones_are_not() -> None:
    machine = make_machine(PUSH_TO_TALK)
    memory = RealtimeMemory(1 << 30)
    machine.memory = MemoryAccount(memory)
    send(machine, "input_audio_buffer.append", audio=silence(1_000))
    # The input, and its features.
    assert memory.held == 2 * 32_000
    send(machine, "input_audio_buffer.append", audio=silence(1_000))
    send(machine, "input_audio_buffer.commit")
    response = start(machine)
    response.add_text("Hi", 0.0)
    response.sound.add(bytes(48_000))
    machine.end_response(response, Outcome())
    assert memory.held > 64_000 + 48_000
    for item in list(machine.conversation):
        send(machine, "conversation.item.delete", item_id=item.id)
    assert memory.held == 0


def test_input_in_which_speech_is_detected_counts_with_what_is_made_of_it() -> None:
    machine = make_machine()
    machine.memory = MemoryAccount(memory := RealtimeMemory(1 << 30))
    send(machine, "input_audio_buffer.append", audio=silence(1_000))
    assert memory.held == 3 * 32_000


def test_a_key_has_a_share_of_its_own() -> None:
    memory = RealtimeMemory(1_000, per_key=600)
    one, again, other, without = (MemoryAccount(memory, owner) for owner in ("a", "a", "b", ""))
    one.hold(500)
    again.hold(50)
    for account in (one, again):
        account.check(50)
        with pytest.raises(Overloaded, match="of this API key keep"):
            account.check(51)
    other.check(450)
    other.hold(100)
    without.hold(350)
    with pytest.raises(Overloaded, match="of this server keep"):
        other.check(1)
    for account in (one, again, other):
        account.close()
    # A server without keys has no shares.
    without.check(650)
    assert memory.held == 350


async def test_a_key_cannot_take_the_memory_of_all(checkpoint: Path) -> None:
    server = {"api_keys": ["greedy", "modest"], "limits": {}}
    policy = RealtimePolicy(all_media_bytes=4 << 20, media_bytes_per_key=1 << 20)
    app = create_app(make_service(checkpoint, server=server, realtime=policy))
    content = [{"type": "input_audio", "audio": tone(12.0)}]
    item = {"type": "message", "role": "user", "content": content}
    async with (
        RealtimeClient(app, key="greedy") as one,
        RealtimeClient(app, key="greedy") as two,
        RealtimeClient(app, key="modest") as other,
    ):
        for client in (one, two, one):
            await client.ask("conversation.item.create", "conversation.item.done", item=item)
        for client in (one, two):
            client.send("conversation.item.create", item=item)
            assert (await client.until("error"))["error"]["code"] == "realtime_memory_full"
        await other.ask("conversation.item.create", "conversation.item.done", item=item)


async def test_a_connection_is_refused_more_when_all_together_keep_too_much(checkpoint: Path) -> None:
    policy = RealtimePolicy(all_media_bytes=1 << 20)
    app = create_app(make_service(checkpoint, realtime=policy))
    content = [{"type": "input_audio", "audio": tone(12.0)}]
    item = {"type": "message", "role": "user", "content": content}
    async with RealtimeClient(app) as one, RealtimeClient(app) as two:
        for client in (one, two, one):
            await client.ask("conversation.item.create", "conversation.item.done", item=item)
        for client in (one, two):
            client.send("conversation.item.create", item=item)
            error = (await client.until("error"))["error"]
            assert (error["code"], error["type"]) == ("realtime_memory_full", "rate_limit_error")
    assert await becomes_true(lambda: app.state.realtime.memory.held == 0)


async def test_a_large_event_is_decoded_beside_the_event_loop(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And in the order of its connection."""
    threads: list[str] = []

    async def in_thread(work: object, *parts: object) -> object:
        threads.append(getattr(work, "__name__", "parse"))
        return work(*parts)  # type: ignore[operator]

    monkeypatch.setattr(asyncio, "to_thread", in_thread)
    app = create_app(make_service(checkpoint))
    wave = (np.sin(np.arange(240_000) * 0.05) * 8_000).astype("<i2")
    async with RealtimeClient(app) as client:
        session = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        await client.ask("session.update", "session.updated", session=session)
        for start_at in (0, 120_000):
            piece = base64.b64encode(wave[start_at : start_at + 120_000].tobytes()).decode()
            client.send("input_audio_buffer.append", audio=piece)
        added = await client.ask("input_audio_buffer.commit", "conversation.item.done")
        assert threads == ["parse", "decode"] * 2
        content = [{"type": "input_audio", "audio": base64.b64encode(wave.tobytes()).decode()}]
        item = {"type": "message", "role": "user", "content": content}
        whole = await client.ask("conversation.item.create", "conversation.item.done", item=item)
        assert threads[4:] == ["parse", "decode_sound"]
        shown = []
        for one in (added, whole):
            fields = {"item_id": one["item"]["id"]}
            kept = await client.ask("conversation.item.retrieve", "conversation.item.retrieved", **fields)
            shown.append(kept["item"]["content"][0]["audio"])
        assert shown[0] == shown[1]
        content[0]["audio"] = "*" * 40_000
        client.send("conversation.item.create", item=item)
        assert (await client.until("error"))["error"]["param"] == "item.content[0].audio"
