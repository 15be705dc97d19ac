"""What the metrics say of a spoken conversation in which an answer is interrupted."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from antiphon_server.chat.service import Service
from antiphon_server.http.app import create_app
from tests.echo_engine import EchoEngine, Script
from tests.server.exchange import becomes_true
from tests.server.parts import make_service
from tests.server.realtime_client import RealtimeClient, tone


class Loud:
    """Loud is speech."""

    async def score(self, _: object, frames: np.ndarray) -> np.ndarray:
        return (np.abs(frames).max(1) > 1_000).astype(np.float32)


def metrics(service: Service) -> dict[str, float]:
    families = text_string_to_metric_families(service.metrics.render().decode())
    return {sample.name.removeprefix("antiphon_"): sample.value for one in families for sample in one.samples}


async def test_connections_turns_answers_and_interruptions_are_counted(checkpoint: Path) -> None:
    engine, scorer = EchoEngine(checkpoint), Loud()
    made: Any = make_service(checkpoint, engine)
    service: Service = replace(made, voice_activity=scorer)
    engine.script = Script(answer="hello there", hang_at=5)
    silence = base64.b64encode(bytes(48_000)).decode()
    async with RealtimeClient(create_app(service)) as client:
        await client.until("session.created")
        assert metrics(service)["realtime_connections"] == 1
        client.send("input_audio_buffer.append", audio=tone(1.0))
        client.send("input_audio_buffer.append", audio=silence)
        await client.until("response.output_audio.delta")
        client.send("input_audio_buffer.append", audio=tone(0.5))
        done = (await client.until("response.done"))["response"]
        assert done["status_details"]["reason"] == "turn_detected"
        item = done["output"][0]["id"]
        fields = {"item_id": item, "content_index": 0, "audio_end_ms": 0}
        await client.ask("conversation.item.truncate", "conversation.item.truncated", **fields)
        seen = metrics(service)
        assert (seen["realtime_turns_total"], seen["realtime_interruptions_total"]) == (1, 1)
        assert seen["realtime_turn_to_speech_seconds_count"] == 1
        # Two frames of 80 ms, of which the client has played none.
        assert seen["realtime_truncated_seconds_total"] > 0
        assert seen["voice_activity_lag_seconds_count"] > 1
    assert await becomes_true(lambda: metrics(service)["realtime_connections"] == 0)
