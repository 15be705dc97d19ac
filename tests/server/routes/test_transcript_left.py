"""A client that leaves while speech is looked for in its recording."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from antiphon_server.chat.service import Service
from antiphon_server.http.app import create_app
from antiphon_server.media.loader import MediaLoader
from antiphon_server.voice_activity.scorer import Abandoned, SpeechScorer
from tests.echo_engine import EchoEngine
from tests.server.exchange import becomes_true
from tests.server.parts import make_service
from tests.server.routes.test_transcriptions import Recording, ask
from tests.server.test_pauses import silence, spoken


@pytest.fixture
def service(checkpoint: Path, engine: EchoEngine) -> Service:
    """Its recordings are one sentence three times."""
    samples = np.tile(np.concatenate([spoken(1.0), silence(1.0)]), 3)
    made = make_service(checkpoint, engine, chat={"heard_pieces": 1})
    return dataclasses.replace(made, media=cast("MediaLoader", Recording(samples)))


def talks_to(service: Service) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


async def test_a_client_that_leaves_ends_the_search_for_speech(service: Service, engine: EchoEngine) -> None:
    scorer = EndlessScorer()
    endless = dataclasses.replace(service, voice_activity=cast("SpeechScorer", scorer))
    async with talks_to(endless) as client:
        asking = asyncio.create_task(ask(client))
        assert await becomes_true(scorer.began.is_set, 60)
        asking.cancel()
        assert await becomes_true(scorer.ended.is_set, 60)
    assert not engine.requests
    assert await becomes_true(lambda: not endless.admission.requests, 60)


class EndlessScorer:
    """Scores a recording until the scores are not wanted any more."""

    def __init__(self) -> None:
        self.began, self.ended = threading.Event(), threading.Event()

    def score_recording(
        self, samples: NDArray[np.float32], is_abandoned: Callable[[], bool]
    ) -> NDArray[np.float32]:
        self.began.set()
        while not is_abandoned():
            time.sleep(0.01)
        self.ended.set()
        raise Abandoned
