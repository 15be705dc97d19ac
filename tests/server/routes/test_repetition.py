"""`repetition_detection`: the request, or else the checkpoint, sets when a repetitive text is cut."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from antiphon_executor.interface.request import RepetitionDetection
from tests.echo_engine import EchoEngine

URL = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("asked", "drawn"),
    [
        ({}, RepetitionDetection(24, 3, 4)),
        ({"repetition_detection": {"max_pattern_size": 2}}, RepetitionDetection(2, 1, 2)),
        ({"repetition_detection": {"max_pattern_size": 0}}, None),
        ({"ignore_eos": True, "max_tokens": 9}, None),
        (
            {"ignore_eos": True, "max_tokens": 9, "repetition_detection": {"max_pattern_size": 2}},
            RepetitionDetection(2, 1, 2),
        ),
    ],
    ids=["the makers'", "the request's", "none", "to the limit", "to the limit, but the request's"],
)
async def test_a_text_that_goes_round_is_cut_as_the_makers_or_the_request_say(
    client: httpx.AsyncClient,
    engine: EchoEngine,
    asked: dict[str, Any],
    drawn: RepetitionDetection | None,
) -> None:
    assert engine.card.sampling.repetition_detection == RepetitionDetection(24, 3, 4)
    body = {"messages": [{"role": "user", "content": "x"}], **asked}
    assert (await client.post(URL, json=body)).status_code == 200
    assert engine.requests[-1].text.repetition_detection == drawn
