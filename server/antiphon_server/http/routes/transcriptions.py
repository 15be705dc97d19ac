"""`POST /v1/audio/transcriptions` and `/v1/audio/translations`: a recording, written down or translated."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response

from antiphon_server.chat.service import Service
from antiphon_server.http.openapi.bodies import event_stream, form_body
from antiphon_server.http.openapi.errors import ErrorBody
from antiphon_server.http.routes.audio_form import read_audio_form
from antiphon_server.http.routes.models import require_model, served_name
from antiphon_server.http.routes.request_body import begin_trace, note_upload, received
from antiphon_server.http.streaming.transcript_response import TranscriptResponse
from antiphon_server.media.source import HeldBytes, MediaSource
from antiphon_server.observability.request_trace import mark
from antiphon_server.openai_api.audio.transcription import (
    Transcript,
    TranscriptChunk,
    TranscriptDelta,
    TranscriptDone,
    TranscriptionForm,
    TranslationForm,
    VerboseTranscript,
)
from antiphon_server.openai_api.client_json import ClientJson
from antiphon_server.transcription.transcript_events import events_of
from antiphon_server.transcription.transcript_run import run_transcript
from antiphon_server.transcription.transcript_spec import Task, build_transcript_spec

router = APIRouter(tags=["audio"])

T = TypeVar("T", bound=TranslationForm)

_TRANSCRIPTIONS, _TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"
# Clients have these names built in.
_OPENAI_MODELS = frozenset({"whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe"})


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The text, in the format that was asked for; with `stream` events: "
        "`transcript.text.delta`, and at the end `transcript.text.done`, or vLLM's chunks",
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            "text/vtt": {"schema": {"type": "string"}},
            **event_stream(
                "TranscriptStreamEvent", TranscriptDelta, TranscriptDone, TranscriptChunk, ErrorBody
            ),
        },
    }
}


@router.post(
    _TRANSCRIPTIONS,
    summary="Write down what is said in a recording",
    response_model=Transcript | VerboseTranscript,
    responses=_ANSWERS,
    openapi_extra=form_body(TranscriptionForm),
)
async def create_transcription(request: Request) -> Response:
    """Pieces of a long recording are cut at pauses. Silence gives an empty text; the model is not asked."""
    return await _answer(request, TranscriptionForm, "transcribe")


@router.post(
    _TRANSLATIONS,
    summary="Translate what is said in a recording into English",
    response_model=Transcript | VerboseTranscript,
    responses=_ANSWERS,
    openapi_extra=form_body(TranslationForm),
)
async def create_translation(request: Request) -> Response:
    """If the model can translate; else 400 with the code `unsupported_by_model`."""
    return await _answer(request, TranslationForm, "translate")


async def _answer(request: Request, form_type: type[T], task: Task) -> Response:
    service: Service = request.app.state.service
    limits = service.settings.server.limits
    client_json = ClientJson(limits.json_depth, limits.json_nodes)
    begin_trace(request)
    form, data = await read_audio_form(request, form_type, service.settings.media.part_bytes, client_json)
    note_upload(request)
    known = received(request, form)
    if form.model not in _OPENAI_MODELS:
        require_model(service, form.model)
    source = MediaSource("audio", (), "file", stored=HeldBytes(data))
    del data
    spec = await build_transcript_spec(form, task, source, service, known.owner or "")
    mark("planned")
    running = run_transcript(spec, service, known.release_body)
    events = events_of(form, spec.id, served_name(service))
    return TranscriptResponse(spec.stream, events, running, service, known.rates)
