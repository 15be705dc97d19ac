"""`/v1/audio/voices` and `/v1/audio/models`, in the format that Open WebUI and similar clients read."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NoReturn

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from antiphon_executor.interface.card import ModelCard
from antiphon_server.chat.service import Service
from antiphon_server.chat.voices import no_cloning
from antiphon_server.http.body_type import JSON, MULTIPART, STREAMED
from antiphon_server.http.openapi.errors import ErrorBody
from antiphon_server.http.routes.models import served_name

router = APIRouter(tags=["audio"])
_TEXT = {"type": "string"}
_RECORDED: dict[str, Any] = {
    "title": "RecordedVoice",
    "description": "A voice from a recording, as OpenAI's clients send it.",
    "type": "object",
    "properties": {
        "name": _TEXT,
        "audio_sample": {"type": "string", "format": "binary"},
        "consent": _TEXT,
    },
}
_DESCRIBED: dict[str, Any] = {
    "title": "DescribedVoice",
    "description": "A voice from a description, as OpenAI's clients send it.",
    "type": "object",
    "properties": {"type": {"const": "prompt"}, "name": _TEXT, "prompt": _TEXT},
}


class Voice(BaseModel):
    """A voice of the served model."""

    id: Annotated[str, Field(description="The value for `audio.voice` of a request.")]
    name: Annotated[str, Field(description="The name to show to a user.")]
    language: Annotated[str | None, Field(description="A BCP 47 tag; null if the checkpoint names none.")]
    licence: Annotated[
        str | None, Field(description="The voice's licence; null if the checkpoint names none.")
    ]
    default: Annotated[bool, Field(description="Whether it is used if a request names no voice.")]


class VoiceList(BaseModel):
    """All voices; empty for a model that answers in text only."""

    object: Literal["list"] = "list"
    voices: list[Voice]


class AudioModel(BaseModel):
    id: str


class AudioModelList(BaseModel):
    """The models that speak; empty if the served model answers in text only."""

    models: list[AudioModel]


@router.get("/v1/audio/models", summary="List the models that speak")
async def list_audio_models(request: Request) -> AudioModelList:
    service: Service = request.app.state.service
    speaks = service.engine.card.speaks
    return AudioModelList(models=[AudioModel(id=served_name(service))] if speaks else [])


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


@router.post(
    "/v1/audio/voices",
    summary="Refused: no voice can be made",
    status_code=400,
    response_model=ErrorBody,
    openapi_extra={
        "requestBody": {"content": {MULTIPART: {"schema": _RECORDED}, JSON: {"schema": _DESCRIBED}}},
        STREAMED: True,
    },
)
async def create_voice(request: Request) -> NoReturn:
    """OpenAI makes a voice of a recording here. The checkpoints that are served have no encoder for that."""
    raise no_cloning(request.app.state.service.engine.card, None)
