"""A server whose Thinker was compiled ahead: the same answers, and no later request compiles anything."""

from __future__ import annotations

import time
from typing import Any

import openai
import pytest

from tests.e2e.answers import SPOKEN, ask, said
from tests.e2e.server_process import RunningServer
from tests.machine import slowness

pytestmark = pytest.mark.engine

# Far below the ten seconds that the smallest compilation takes.
AT_ONCE_S = 5.0
# What is drawn may differ where two tokens are as likely as each other but for a rounding.
WARM = 1.0


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": WARM, "seed": 5}, {"logprobs": True, "top_logprobs": 4}, SPOKEN],
    ids=["greedy", "sampled", "log probabilities", "spoken"],
)
def test_it_answers_as_the_eager_one_and_at_once(
    paced: RunningServer, client: openai.OpenAI, options: dict[str, Any]
) -> None:
    began = time.monotonic()
    answer = ask(paced.client(), said("Tell me about the red house."), **options)
    took_s = time.monotonic() - began
    assert took_s < AT_ONCE_S * slowness()
    assert answer.text
    if options.get("temperature") != WARM:
        assert answer.text == ask(client, said("Tell me about the red house."), **options).text
