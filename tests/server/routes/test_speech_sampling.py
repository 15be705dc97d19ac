"""The speech sampling parameters of a request."""

from __future__ import annotations

import httpx
import pytest

from tests.echo_engine import EchoEngine
from tests.server.routes.test_chat import SPOKEN, ask, said


@pytest.mark.parametrize("most", ["talker_max_frames", "talker_max_new_tokens", "talker_max_tokens"])
async def test_what_a_request_says_of_speech_reaches_the_engine_by_all_its_names(
    client: httpx.AsyncClient, engine: EchoEngine, most: str
) -> None:
    asked = {"talker_temperature": 0.5, "talker_top_k": 9, "talker_top_p": 0.7}
    await ask(client, said("x", **SPOKEN, **asked, talker_repetition_penalty=1.2, **{most: 30}))
    speech = engine.requests[-1].speech
    assert speech is not None
    assert (speech.temperature, speech.top_k, speech.top_p) == (0.5, 9, 0.7)
    assert (speech.repetition_penalty, speech.max_frames) == (1.2, 30)
