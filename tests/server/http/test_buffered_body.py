"""A request's body counts against the budget of all bodies for as long as it is in memory."""

from __future__ import annotations

import asyncio
import base64
import gc
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from antiphon_executor.interface.media import AudioClip, Media
from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.chat.service import Service
from antiphon_server.http.app import create_app
from antiphon_server.media.budget import ReserveBytes
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.source import MediaSource
from tests.echo_engine import EchoEngine, Script
from tests.server.exchange import Exchange, becomes_true
from tests.server.parts import make_service

BODY_BYTES = 8 << 20
WAV = base64.b64encode(bytes(BODY_BYTES * 3 // 4 - 600)).decode()
UPLOAD: dict[str, Any] = {
    "model": "echo",
    "messages": [
        {
            "role": "user",
            "content": [{"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}],
        }
    ],
    "stream": True,
}
HELLO: dict[str, Any] = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}


class SlowMedia:
    """Returns silence once `may_go_on` is set, and keeps nothing of its input."""

    def __init__(self) -> None:
        self.started = 0
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def load(
        self,
        sources: Sequence[MediaSource],
        hold: ReserveBytes,
        text_tokens: int = 0,
        owner: str = "",
        *_: object,
    ) -> Media:
        self.started += 1
        await self.may_go_on.wait()
        return Media((AudioClip(np.zeros(16_000, np.float32)),) * len(sources), (), ())


@pytest.fixture
def media() -> SlowMedia:
    return SlowMedia()


@pytest.fixture
def busy(checkpoint: Path, engine: EchoEngine, media: SlowMedia) -> Service:
    """A server with a budget of one and a half bodies, whose answers never end."""
    engine.script = Script(hang_at=1)
    limits = {"bodies_in_flight_bytes": BODY_BYTES * 3 // 2}
    service = make_service(checkpoint, engine, server={"limits": limits})
    return replace(service, media=cast("MediaLoader", media))


async def test_a_body_counts_until_its_media_are_decoded_and_not_until_its_answer_ends(
    busy: Service, media: SlowMedia, engine: EchoEngine
) -> None:
    app = create_app(busy)
    media.may_go_on.clear()
    async with Exchange(app, UPLOAD) as first:
        assert await becomes_true(lambda: media.started == 1)
        async with Exchange(app, UPLOAD) as second:
            assert await becomes_true(lambda: second.is_complete)
        assert (second.status, b"bodies_in_flight" in second.body) == (429, True)
        media.may_go_on.set()
        assert await becomes_true(lambda: engine.running == 1)
        async with Exchange(app, UPLOAD) as third:
            assert await becomes_true(lambda: engine.running == 2 and third.status == 200)
            assert not first.is_complete


@pytest.mark.parametrize("sequences", [2, 1], ids=["running", "waiting for a slot"])
async def test_what_no_longer_counts_is_no_longer_in_memory(
    busy: Service, engine: EchoEngine, media: SlowMedia, sequences: int
) -> None:
    app = create_app(
        replace(busy, admission=AdmissionController(Capacity(sequences, 1, 64, 3600.0, 30.0, 1 << 30)))
    )
    async with Exchange(app, HELLO):
        assert await becomes_true(lambda: engine.running == 1)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            async with Exchange(app, UPLOAD):
                assert await becomes_true(lambda: media.started == 1)
                assert await becomes_true(lambda: engine.started == sequences)
                # Threads let go of it a moment later.
                assert await becomes_true(lambda: held_bytes() - before < BODY_BYTES // 2)
                _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert engine.started == sequences
    assert peak - before > BODY_BYTES


def held_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.parametrize("body", [{"model": "other"}, {"messages": 1}, ["x"]], ids=str)
async def test_a_request_that_fails_gives_its_body_back_too(busy: Service, body: Any) -> None:
    app = create_app(busy)
    padded = [*body, WAV] if isinstance(body, list) else {**body, "user": WAV}
    for _ in range(3):
        async with Exchange(app, padded) as exchange:
            assert await becomes_true(lambda: exchange.is_complete)
        assert exchange.status in (400, 404)


async def test_a_client_that_leaves_gives_its_body_back(busy: Service, media: SlowMedia) -> None:
    app = create_app(busy)
    media.may_go_on.clear()
    for number in range(1, 4):
        async with Exchange(app, UPLOAD) as exchange:
            assert await becomes_true(lambda: media.started == number)  # noqa: B023
            exchange.disconnect()
            assert await becomes_true(lambda: exchange.task.done())
