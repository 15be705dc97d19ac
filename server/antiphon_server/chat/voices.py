"""Choice of a voice: the name that a client sends to a voice of the model.

OpenAI's voice names, which its clients send by default, map to fixed voices of the model.
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


def choose_voice(
    asked: str | VoiceId | VoiceReference | None, card: ModelCard, param: str = "audio.voice"
) -> str:
    """A voice of the model. None is its default; case does not matter; OpenAI's n-th name is the n-th voice.

    Raises BadRequest, with the list of voices, if there is no such voice. `param`: the request's field.
    """
    if asked is None:
        return card.default_voice or card.voices[0]
    if isinstance(asked, VoiceReference):
        raise no_cloning(card, param)
    known = {voice.lower(): voice for voice in card.voices}
    name = (asked.id if isinstance(asked, VoiceId) else asked).lower()
    if name in known:
        return known[name]
    if name in OPENAI_VOICES:
        return card.voices[OPENAI_VOICES.index(name) % len(card.voices)]
    close = difflib.get_close_matches(name, known, n=1)
    raise BadRequest(
        f"Unknown voice; the model's voices are: {', '.join(card.voices)}.",
        param=param,
        hint=f"Did you mean '{known[close[0]]}'?" if close else None,
    )


def no_cloning(card: ModelCard, param: str | None) -> BadRequest:
    return BadRequest(
        "Voices cannot be cloned from a recording: this checkpoint has no codec encoder.",
        param=param,
        code="voice_cloning_unsupported",
        hint=f"Use a voice of the model: {', '.join(card.voices)}. GET /v1/audio/voices describes them.",
    )
