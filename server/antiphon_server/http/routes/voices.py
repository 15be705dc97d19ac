"""`GET /v1/audio/voices`: the voices that answers can be spoken in.

In: the engine's card. Out: `{"voices": [{"id", "name", …}, …]}`, as Open WebUI and its like read it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from antiphon_executor.interface.card import ModelCard

router = APIRouter(tags=["audio"])


class Voice(BaseModel):
    """A voice of the served model."""

    id: Annotated[str, Field(description="What `audio.voice` of a request names.")]
    name: Annotated[str, Field(description="What a person may be shown.")]
    language: Annotated[
        str | None, Field(description="A BCP 47 tag; null where the checkpoint says nothing.")
    ]
    licence: Annotated[str | None, Field(description="Under which the voice may be used; null as above.")]
    default: Annotated[bool, Field(description="Spoken where a request names no voice.")]


class VoiceList(BaseModel):
    """All voices; none for a model that answers in text alone."""

    object: Literal["list"] = "list"
    voices: list[Voice]


@router.get("/v1/audio/voices", summary="List the voices")
async def list_voices(request: Request) -> VoiceList:
    """Each voice of the model, with its language and licence, and which one is the default."""
    card: ModelCard = request.app.state.service.engine.card
    return VoiceList(
        voices=[
            Voice(
                id=voice.id,
                name=voice.name,
                language=voice.language,
                licence=voice.licence,
                default=voice.default,
            )
            for voice in card.voice_table
        ]
    )
