"""The voice a client asks for → one that the model has.

In: a name or a recording, the model's voices. Out: one of those, or `BadRequest` that lists them.
OpenAI's own names, which its clients send by default, stand for fixed voices of the model.
"""

from __future__ import annotations

import difflib

from antiphon_executor.interface.card import ModelCard
from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.options import VoiceId, VoiceReference

OPENAI_VOICES = (
    "alloy", "ash", "ballad", "coral", "echo", "fable", "nova",
    "onyx", "sage", "shimmer", "verse", "marin", "cedar",
)  # fmt: skip


def choose_voice(asked: str | VoiceId | VoiceReference | None, card: ModelCard) -> str:
    """Any case; None is the model's default. OpenAI's n-th name is the n-th voice, and round again."""
    if asked is None:
        return card.default_voice or card.voices[0]
    if isinstance(asked, VoiceReference):
        raise _no_cloning(card)
    known = {voice.lower(): voice for voice in card.voices}
    name = (asked.id if isinstance(asked, VoiceId) else asked).lower()
    if name in known:
        return known[name]
    if name in OPENAI_VOICES:
        return card.voices[OPENAI_VOICES.index(name) % len(card.voices)]
    close = difflib.get_close_matches(name, known, n=1)
    raise BadRequest(
        f"This voice is not known; the model's voices are: {', '.join(card.voices)}.",
        param="audio.voice",
        hint=f"Did you mean '{known[close[0]]}'?" if close else None,
    )


def _no_cloning(card: ModelCard) -> BadRequest:
    return BadRequest(
        "No voice can be cloned from a recording: that takes a codec encoder, and this checkpoint has none.",
        param="audio.voice",
        code="voice_cloning_unsupported",
        hint=f"Name a voice of the model: {', '.join(card.voices)}. GET /v1/audio/voices describes them.",
    )
