"""`POST /v1/audio/transcriptions` and `/v1/audio/translations`: a recording, written down or translated."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from antiphon_server.chat.service import Service
from antiphon_server.http.body_limits import BUFFERED_BODY, BufferedBody
from antiphon_server.http.body_type import MULTIPART
from antiphon_server.http.routes.audio_form import read_audio_form
from antiphon_server.http.routes.models import require_model
from antiphon_server.http.routes.request_body import client_closed, owner_of
from antiphon_server.http.streaming.transcript_response import TranscriptResponse
from antiphon_server.media.source import HeldBytes, MediaSource
from antiphon_server.openai_api.audio.transcription import (
    Transcript,
    TranscriptionForm,
    TranslationForm,
    VerboseTranscript,
)
from antiphon_server.openai_api.client_json import ClientJson
from antiphon_server.transcription.transcript_run import run_transcript
from antiphon_server.transcription.transcript_spec import Task, build_transcript_spec

router = APIRouter(tags=["audio"])

T = TypeVar("T", bound=TranslationForm)

_TRANSCRIPTIONS, _TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"
# Clients have these names built in.
_OPENAI_MODELS = frozenset({"whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe"})


def _form_of(path: str, model: type[TranslationForm]) -> dict[str, Any]:
    """The `openapi_extra` of a route. The schema keeps its definitions beside it."""
    at = f"#/paths/{path.replace('/', '~1')}/post/requestBody/content/multipart~1form-data/schema"
    schema = model.model_json_schema(ref_template=f"{at}/$defs/{{model}}")
    schema["properties"]["file"] = {"type": "string", "format": "binary"}
    schema["required"] = ["file"]
    return {"requestBody": {"required": True, "content": {MULTIPART: {"schema": schema}}}}


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The text, in the format that was asked for; with `stream` events: "
        "`transcript.text.delta`, and at the end `transcript.text.done`",
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            "text/vtt": {"schema": {"type": "string"}},
            "text/event-stream": {"schema": {"type": "string"}},
        },
    }
}


@router.post(
    _TRANSCRIPTIONS,
    summary="Write down what is said in a recording",
    response_model=Transcript | VerboseTranscript,
    responses=_ANSWERS,
    openapi_extra=_form_of(_TRANSCRIPTIONS, TranscriptionForm),
)
async def create_transcription(request: Request) -> Response:
    """Pieces of a long recording are cut at pauses. Silence gives an empty text; the model is not asked."""
    return await _answer(request, TranscriptionForm, "transcribe")


@router.post(
    _TRANSLATIONS,
    summary="Translate what is said in a recording into English",
    response_model=Transcript | VerboseTranscript,
    responses=_ANSWERS,
    openapi_extra=_form_of(_TRANSLATIONS, TranslationForm),
)
async def create_translation(request: Request) -> Response:
    """If the model can translate; else 400 with the code `unsupported_by_model`."""
    return await _answer(request, TranslationForm, "translate")


async def _answer(request: Request, form_type: type[T], task: Task) -> Response:
    service: Service = request.app.state.service
    limits = service.settings.server.limits
    client_json = ClientJson(limits.json_depth, limits.json_nodes)
    try:
        form, data = await read_audio_form(request, form_type, service.settings.media.part_bytes, client_json)
    except ClientDisconnect:
        return client_closed()
    service.metrics.request_uploaded(time.monotonic() - request.state.arrived_s)
    if form.model not in _OPENAI_MODELS:
        require_model(service, form.model)
    owner = owner_of(request, service) or ""
    source = MediaSource("audio", (), "file", stored=HeldBytes(data))
    del data
    spec = await build_transcript_spec(form, task, source, service, owner)
    buffered: BufferedBody = request.scope["state"][BUFFERED_BODY]
    running = run_transcript(spec, service, buffered.release)
    rates = partial(service.admission.rates.headers, owner)
    return TranscriptResponse(spec.stream, running, service, rates)
