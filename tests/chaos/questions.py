"""Request bodies of a chaos run: text and speech, streamed and whole, with media and without.

In: a random source. Out: request bodies. Long answers are greedy, because random weights then never end.
"""

from __future__ import annotations

import random
from typing import Any

from tests.e2e import answers
from tests.e2e.answers import said
from tests.e2e.recordings import Recordings
from tests.e2e.server_process import MODEL

# An OpenAI voice name, which every family maps to one of its voices.
VOICE = "alloy"
SPOKEN: dict[str, Any] = {**answers.SPOKEN, "audio": {"voice": VOICE, "format": "wav"}}
STREAMED: dict[str, Any] = {**answers.STREAMED, "audio": {"voice": VOICE, "format": "pcm16"}}
WRITTEN: dict[str, Any] = {"stream": True}
LASTING: dict[str, Any] = {"temperature": 0, "talker_temperature": 0, "max_tokens": 400}
SHORT: dict[str, Any] = {"max_tokens": 24}


def any_question(dice: random.Random, recordings: Recordings | None) -> dict[str, Any]:
    """One in four with media, one in four of those that are not streamed."""
    form = dice.choice([STREAMED, STREAMED, WRITTEN, SPOKEN])
    return {"model": MODEL, "messages": _messages(dice, recordings), **form, **SHORT}


def lasting_question(dice: random.Random, recordings: Recordings | None) -> dict[str, Any]:
    """An answer that ends only when the client disconnects."""
    form = dice.choice([STREAMED, STREAMED, WRITTEN])
    return {"model": MODEL, "messages": _messages(dice, recordings), **form, **LASTING}


def _messages(dice: random.Random, recordings: Recordings | None) -> list[dict[str, Any]]:
    if recordings is not None and dice.random() < 0.25:
        return recordings.all_at_once()
    return said(f"Say a long sentence about {dice.randrange(1000)}.")
