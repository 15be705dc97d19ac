"""What a user says is read ahead while it goes on: windows, the whole at a pause, and nothing besides.

Detected speech, and what a client sends until it commits (push to talk).
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from antiphon_executor.interface.media import AudioClip, SampleWriter
from antiphon_executor.interface.request import OmniRequest
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.chat.service import Service
from antiphon_server.http.app import create_app
from antiphon_server.http.lifecycle import Lifecycle
from antiphon_server.http.realtime import live_speech, speech_ahead
from tests.echo_engine import EchoEngine, Script
from tests.server.exchange import becomes_true
from tests.server.parts import make_service
from tests.server.realtime_client import RealtimeClient, tone

RATE_HZ = 16_000


class Loud:
    """Loud is speech."""

    async def score(self, _: object, frames: np.ndarray) -> np.ndarray:
        return (np.abs(frames).max(1) > 1_000).astype(np.float32)


class Windows(SampleWriter):
    """As the engine's, windows are complete a second after their end."""

    def windows_so_far(self, key: str) -> AudioClip | None:
        samples = np.concatenate(self._pieces)
        complete = (len(samples) // RATE_HZ - 1) // 8 * 8
        return AudioClip(samples[: complete * RATE_HZ], key) if complete > 0 else None


class LiveEngine(EchoEngine):
    """It can read ahead."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._card = dataclasses.replace(self._card, reads_ahead=True)

    def clip_writer(self, window_s: int | None = None) -> Windows:
        assert window_s == 8
        return Windows()

    @property
    def ahead(self) -> list[OmniRequest]:
        return [one for one in self.requests if one.text.max_tokens == 1]

    def read_s(self) -> list[float]:
        """Seconds of the clips that were read ahead."""
        return [round(one.media.audios[-1].seconds, 1) for one in self.ahead]


@pytest.fixture
def engine(checkpoint: Path) -> LiveEngine:
    return LiveEngine(checkpoint)


@pytest.fixture
def service(checkpoint: Path, engine: LiveEngine) -> Service:
    scorer: Any = Loud()
    return dataclasses.replace(make_service(checkpoint, engine), voice_activity=scorer)


def talking(
    service: Service, life: Lifecycle | None = None, **detection: Any
) -> AbstractAsyncContextManager[RealtimeClient]:
    return _connected(service, {"type": "server_vad", **detection}, life)


def pushing(service: Service) -> AbstractAsyncContextManager[RealtimeClient]:
    """Push to talk."""
    return _connected(service, None)


@asynccontextmanager
async def _connected(
    service: Service, detection: dict[str, Any] | None, life: Lifecycle | None = None
) -> AsyncIterator[RealtimeClient]:
    listening = {"format": {"type": "audio/pcm", "rate": RATE_HZ}, "turn_detection": detection}
    async with RealtimeClient(create_app(service, life)) as client:
        session = {"type": "realtime", "output_modalities": ["text"], "audio": {"input": listening}}
        await client.ask("session.update", "session.updated", session=session)
        yield client


async def say(client: RealtimeClient, seconds: float) -> None:
    """In pieces, between which the server works."""
    for _ in range(round(4 * seconds)):
        client.send("input_audio_buffer.append", audio=tone(0.25, RATE_HZ))
        await asyncio.sleep(0.002)


async def pause(client: RealtimeClient, ms: int) -> None:
    for _ in range(ms // 50):
        client.send("input_audio_buffer.append", audio=base64.b64encode(bytes(RATE_HZ // 10)).decode())
        await asyncio.sleep(0.002)


def is_idle(service: Service, engine: EchoEngine) -> bool:
    load = service.admission.load
    return not engine.running and not service.admission.requests and not load.prompt_tokens


async def test_windows_are_read_while_the_user_speaks_and_the_rest_at_the_pause(
    service: Service, engine: LiveEngine
) -> None:
    async with talking(service) as client:
        await say(client, 9.5)
        assert await becomes_true(lambda: engine.read_s() == [8], 5)
        await say(client, 8.5)
        assert await becomes_true(lambda: engine.read_s() == [8, 16], 5)
        await pause(client, 350)
        assert await becomes_true(lambda: len(engine.ahead) == 3 and is_idle(service, engine), 5)
        await pause(client, 300)
        await client.until("response.done")
        answer = engine.requests[-1]
        (clip,) = answer.media.audios
        last = engine.ahead[-1]
        assert (last.media.audios[0].key, last.media.audios[0].num_samples) == (clip.key, clip.num_samples)
        assert last.prompt_token_ids == answer.prompt_token_ids
        assert (last.speech, last.cache_salt) == (None, answer.cache_salt)
        # What was read ahead is not the client's cache.
        assert answer.ahead.read > 18 * 13
        assert answer.ahead.found == 0
        item = next(e["item"] for e in client.events if e["type"] == "conversation.item.done")
        kind = "conversation.item.retrieve"
        shown = (await client.ask(kind, "conversation.item.retrieved", item_id=item["id"]))["item"]
        heard = np.frombuffer(base64.b64decode(shown["content"][0]["audio"]), np.int16)
        np.testing.assert_array_equal(heard.astype(np.float32) / 32_768, clip.samples)
    assert is_idle(service, engine)
    assert b"antiphon_realtime_tokens_read_ahead_total" in service.metrics.render()


async def test_push_to_talk_is_read_in_the_same_windows_and_answered_as_the_whole(
    service: Service, engine: LiveEngine
) -> None:
    async with pushing(service) as client:
        for windows in ([8], [8, 16]):
            await say(client, 9.5)
            assert await becomes_true(lambda: engine.read_s() == windows, 5)  # noqa: B023
        assert await becomes_true(lambda: is_idle(service, engine), 5)
        await client.ask("input_audio_buffer.commit", "conversation.item.done")
        await client.ask("response.create", "response.done")
    answer = engine.requests[-1]
    (clip,) = answer.media.audios
    assert clip.key == engine.ahead[-1].media.audios[0].key
    assert answer.ahead.read > 16 * 13
    item = {"type": "message", "role": "user"}
    audio = base64.b64encode(b"".join(base64.b64decode(tone(0.25, RATE_HZ)) for _ in range(76))).decode()
    async with pushing(service) as client:
        content = [{"type": "input_audio", "audio": audio}]
        await client.ask(
            "conversation.item.create", "conversation.item.done", item={**item, "content": content}
        )
        await client.ask("response.create", "response.done")
    whole = engine.requests[-1]
    np.testing.assert_array_equal(clip.samples, whole.media.audios[0].samples)  # type: ignore[union-attr]
    assert whole.prompt_token_ids == answer.prompt_token_ids
    assert is_idle(service, engine)


async def test_each_push_is_read_by_itself(service: Service, engine: LiveEngine) -> None:
    async with pushing(service) as client:
        await say(client, 9.5)
        assert await becomes_true(lambda: engine.read_s() == [8], 5)
        await client.ask("input_audio_buffer.clear", "input_audio_buffer.cleared")
        for number in (2, 3):
            await say(client, 9.5)
            assert await becomes_true(lambda: engine.read_s() == [8] * number, 5)  # noqa: B023
            await client.ask("input_audio_buffer.commit", "conversation.item.done")
            await client.ask("response.create", "response.done")
        keys = [one.media.audios[-1].key for one in engine.ahead]
        first, second = (one for one in engine.requests if one not in engine.ahead)
        assert [one.key for one in second.media.audios] == keys[1:]
        assert [one.num_samples for one in second.media.audios] == [round(9.5 * RATE_HZ)] * 2
        assert len(first.media.audios) == 1


async def test_speech_that_is_always_cleared_is_not_read_for_ever(
    service: Service, engine: LiveEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a microphone that is never off. Reading ahead costs a key nothing."""
    monkeypatch.setattr(speech_ahead, "_SPARE_S", 10)
    async with pushing(service) as client:
        for read in (1, 2, 2, 2):
            await say(client, 9.5)
            assert await becomes_true(lambda: len(engine.ahead) == read, 5)  # noqa: B023
            await client.ask("input_audio_buffer.clear", "input_audio_buffer.cleared")
        await say(client, 9.5)
        await client.ask("input_audio_buffer.commit", "conversation.item.done")
        # 16 s are less than the 10 and the turn.
        await say(client, 9.5)
        assert await becomes_true(lambda: len(engine.ahead) == 3, 5)


async def test_a_past_turn_keeps_its_key(service: Service, engine: LiveEngine) -> None:
    async with talking(service) as client:
        for number in (1, 2):
            await say(client, 2)
            await pause(client, 350)
            assert await becomes_true(lambda: len(engine.ahead) == number, 5)  # noqa: B023
            await pause(client, 300)
            await client.until("response.done")
        first, second = (one for one in engine.requests if one not in engine.ahead)
        known = second.media.audios[0]
        assert (type(known).__name__, known.key, known.window_s) == (  # type: ignore[union-attr]
            "KnownClip", first.media.audios[0].key, 8,
        )  # fmt: skip
        again = known.decode()  # type: ignore[union-attr]
        np.testing.assert_array_equal(again.samples, first.media.audios[0].samples)  # type: ignore[union-attr]
        assert engine.ahead[-1].media.audios[0].key == known.key


async def test_speech_that_goes_on_after_a_pause_is_read_again_at_the_next(
    service: Service, engine: LiveEngine
) -> None:
    async with talking(service) as client:
        for number in (1, 2):
            await say(client, 1)
            await pause(client, 350)
            assert await becomes_true(lambda: len(engine.ahead) == number, 5)  # noqa: B023
        assert engine.read_s()[0] < 2 < engine.read_s()[1]


async def test_speech_with_ever_more_pauses_is_read_no_further(
    service: Service, engine: LiveEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_speech, "_SPARE_S", 0)
    monkeypatch.setattr(live_speech, "_TIMES", 1)
    async with talking(service) as client:
        for _ in range(6):
            await say(client, 1)
            await pause(client, 350)
            await asyncio.sleep(0.05)
        await pause(client, 300)
        await client.until("response.done")
    # At the first pause: no other allows more than the whole once.
    assert len(engine.ahead) == 1


async def test_a_server_that_drains_reads_nothing_ahead(service: Service, engine: LiveEngine) -> None:
    life = Lifecycle()
    async with talking(service, life) as client:
        await say(client, 2)
        life.stage = "draining"
        await pause(client, 650)
        await client.until("response.done")
        assert not engine.ahead


@pytest.mark.parametrize("ending", ["input_audio_buffer.clear", "input_audio_buffer.commit", "leave"])
@pytest.mark.parametrize("connected", [talking, pushing])
async def test_reading_ends_with_the_speech(
    service: Service,
    engine: LiveEngine,
    ending: str,
    connected: Callable[[Service], AbstractAsyncContextManager[RealtimeClient]],
) -> None:
    engine.script = Script(hang_at=0)
    async with connected(service) as client:
        await say(client, 10)
        assert await becomes_true(lambda: engine.running == 1, 5)
        assert service.admission.load.prompt_tokens
        if ending == "leave":
            client.disconnect()
        else:
            client.send(ending)
        assert await becomes_true(lambda: is_idle(service, engine), 1)
        assert engine.aborted == 1


async def test_the_answer_aborts_what_is_still_read(service: Service, engine: LiveEngine) -> None:
    engine.scripts.append(Script(hang_at=0))
    async with talking(service) as client:
        await say(client, 2)
        await pause(client, 350)
        assert await becomes_true(lambda: engine.running == 1, 5)
        await pause(client, 300)
        await client.until("response.done")
        assert engine.aborted == 1
        assert is_idle(service, engine)


async def test_nothing_is_read_without_speech(service: Service, engine: LiveEngine) -> None:
    async with talking(service) as client:
        await pause(client, 12_000)
    async with pushing(service) as client:
        await say(client, 7)
    assert not engine.requests


async def test_nothing_is_read_of_a_turn_that_will_not_be_answered_at_once(
    service: Service, engine: LiveEngine
) -> None:
    async with talking(service, create_response=False) as client:
        await say(client, 10)
        await pause(client, 600)
        await client.until("input_audio_buffer.committed")
    assert not engine.requests
    engine.cues["please hang"] = Script(hang_at=0)
    async with talking(service, interrupt_response=False) as client:
        content = [{"type": "input_text", "text": "please hang"}]
        client.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        client.send("response.create")
        await client.until("response.created")
        await say(client, 10)
        await pause(client, 600)
        await client.until("input_audio_buffer.committed")
    assert not engine.ahead


async def test_nothing_is_read_for_a_key_that_has_reached_its_rate_limit(
    service: Service, engine: LiveEngine
) -> None:
    """Its answer is refused."""
    capacity = dataclasses.replace(service.admission.capacity, tokens_per_minute=60)
    service = dataclasses.replace(service, admission=AdmissionController(capacity, clock=lambda: 0.0))
    service.admission.rates.debit("", 100)
    async with talking(service) as client:
        await say(client, 10)
        await pause(client, 600)
        done = (await client.until("response.done"))["response"]
    assert done["status_details"]["error"]["code"] == "rate_limit_exceeded"
    assert not engine.requests


async def test_an_engine_that_cannot_read_ahead_is_not_asked_to(service: Service, engine: LiveEngine) -> None:
    engine._card = dataclasses.replace(engine.card, reads_ahead=False)
    async with talking(service) as client:
        await say(client, 10)
        await pause(client, 600)
        await client.until("response.done")
    assert not engine.ahead


async def test_a_fault_while_reading_does_not_end_the_turn(service: Service, engine: LiveEngine) -> None:
    engine.scripts.append(Script(fault_at=0))
    async with talking(service) as client:
        await say(client, 2)
        await pause(client, 350)
        assert await becomes_true(lambda: engine.failed == 1, 5)
        await pause(client, 300)
        assert (await client.until("response.done"))["response"]["status"] == "completed"
