"""`POST /v1/audio/speech`: reads a text aloud, streamed from the first frame of speech."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from antiphon_server.http.openapi.bodies import event_stream, json_body
from antiphon_server.http.openapi.errors import SpeechErrorEvent
from antiphon_server.http.routes.models import require_model
from antiphon_server.http.routes.request_body import receive_json
from antiphon_server.http.streaming.speech_response import SpeechResponse
from antiphon_server.observability.request_trace import mark
from antiphon_server.openai_api.audio.speech import (
    SpeechAudioDelta,
    SpeechAudioDone,
    SpeechRequest,
    parse_speech_request,
)
from antiphon_server.speech.reading_run import run_reading
from antiphon_server.speech.reading_spec import build_reading_spec

router = APIRouter(tags=["audio"])

_PATH = "/v1/audio/speech"
# Clients have these names built in.
_OPENAI_MODELS = frozenset({"tts-1", "tts-1-hd", "gpt-4o-mini-tts"})
_AUDIO = {"schema": {"type": "string", "format": "binary"}}
_TYPES = ("audio/mpeg", "audio/ogg", "audio/aac", "audio/flac", "audio/wav", "audio/pcm")


@router.post(
    _PATH,
    summary="Read a text aloud",
    response_class=Response,
    responses={
        200: {
            "description": "The audio; with `stream_format: sse` events that carry it: "
            "`speech.audio.delta` and at the end `speech.audio.done`, or `speech.audio.error`",
            "content": {
                **dict.fromkeys(_TYPES, _AUDIO),
                **event_stream("SpeechStreamEvent", SpeechAudioDelta, SpeechAudioDone, SpeechErrorEvent),
            },
        }
    },
    openapi_extra=json_body(SpeechRequest),
)
async def create_speech(request: Request) -> Response:
    """The text is read to the letter: it goes to the speech model without passing the language model."""
    received = await receive_json(request, parse_speech_request)
    asked, service = received.asked, received.service
    if asked.model not in _OPENAI_MODELS:
        require_model(service, asked.model)
    spec = await build_reading_spec(asked, service, received.owner or "")
    mark("planned")
    received.release_body()
    running = run_reading(spec, service, received.arrived_s)
    return SpeechResponse(spec.form, running, service, received.rates)
