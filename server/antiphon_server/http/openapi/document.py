"""The OpenAPI document: what FastAPI finds of the routes, with our schemas, examples and errors."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from antiphon_server.chat.service import Service
from antiphon_server.http.middleware import PUBLIC_PATHS
from antiphon_server.http.openapi.bodies import SCHEMAS
from antiphon_server.http.openapi.errors import (
    ALWAYS,
    OF_BODIES,
    OF_ENGINE,
    ErrorBody,
    SpeechErrorEvent,
    error_response,
)
from antiphon_server.http.openapi.examples import add_call_examples
from antiphon_server.http.openapi.schemas import describe, descriptions, schemas_of
from antiphon_server.openai_api.audio.speech import SpeechAudioDelta, SpeechAudioDone, SpeechRequest
from antiphon_server.openai_api.audio.transcription import (
    TranscriptChunk,
    TranscriptDelta,
    TranscriptDone,
    TranscriptionForm,
    TranslationForm,
)
from antiphon_server.openai_api.completions import CompletionRequest
from antiphon_server.openai_api.realtime.client_secrets import ClientSecretRequest
from antiphon_server.openai_api.request import ChatRequest
from antiphon_server.openai_api.response import Chunk
from antiphon_server.openai_api.responses.events import AnyEvent
from antiphon_server.openai_api.responses.request import ResponsesRequest
from antiphon_server.openai_api.tokenize import DetokenizeRequest, TokenizeRequest

_ABOUT = "OpenAI-compatible API of an omni model: text, audio, images and video in; text and speech out."
_REQUESTS = (
    ChatRequest,
    ResponsesRequest,
    CompletionRequest,
    SpeechRequest,
    TokenizeRequest,
    DetokenizeRequest,
    TranscriptionForm,
    TranslationForm,
    ClientSecretRequest,
)
_EVENTS = (
    Chunk,
    SpeechAudioDelta,
    SpeechAudioDone,
    TranscriptChunk,
    TranscriptDelta,
    TranscriptDone,
    *typing.get_args(AnyEvent),
)
_ENGINE_PATHS = frozenset(
    {
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/completions",
        "/v1/audio/speech",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/tokenize",
        "/detokenize",
    }
)
_KEY = "key"
_Node = dict[str, Any]


def build_document(app: FastAPI) -> _Node:
    """Of the routes of `app`, with the served model and one of its voices in the examples."""
    service: Service = app.state.service
    document = get_openapi(title=app.title, version=app.version, routes=app.routes, description=_ABOUT)
    answers = {*_answers(app), *_EVENTS, ErrorBody, SpeechErrorEvent}
    schemas = schemas_of(_REQUESTS, sorted(answers, key=lambda model: model.__qualname__))
    document["components"] = {"schemas": schemas}
    if service.settings.server.api_keys:
        document["components"]["securitySchemes"] = {_KEY: {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _name_schemas(operation, schemas)
            _describe_parameters(operation)
            _add_errors(path, operation)
            add_call_examples(f"{method.upper()} {path}", operation)
            if service.settings.server.api_keys and path not in PUBLIC_PATHS:
                operation["security"] = [{_KEY: []}]
                operation["responses"].setdefault("401", error_response("401"))
    return _filled(document, service)


def _answers(app: FastAPI) -> Iterator[type[BaseModel]]:
    for route in app.routes:
        if isinstance(route, APIRoute) and route.include_in_schema and route.response_model is not None:
            yield from typing.get_args(route.response_model) or (route.response_model,)


def _name_schemas(operation: _Node, schemas: dict[str, _Node]) -> None:
    """Forms and events that the route declares by itself become schemas of their own."""
    for body in (operation.get("requestBody", {}), *operation["responses"].values()):
        for content in body.get("content", {}).values():
            schema = content["schema"]
            if "properties" not in schema:
                continue
            schemas[schema["title"]] = schema
            describe(schema["title"], schema)
            content["schema"] = {"$ref": f"{SCHEMAS}{schema['title']}"}


def _describe_parameters(operation: _Node) -> None:
    texts = descriptions()["parameters"]
    for parameter in operation.get("parameters", []):
        parameter.setdefault("description", texts.get(parameter["name"], ""))


def _add_errors(path: str, operation: _Node) -> None:
    """Our envelope, in place of FastAPI's 422."""
    responses = operation["responses"]
    responses.pop("422", None)
    known = [*ALWAYS]
    if operation.get("parameters"):
        known += ["400", "404"]
    if "requestBody" in operation:
        known += OF_BODIES
    if path in _ENGINE_PATHS:
        known += OF_ENGINE
    if path == "/v1/files" and "requestBody" in operation:
        known += ["507"]
    for status in known:
        responses.setdefault(status, error_response(status))


def _filled(node: Any, service: Service) -> Any:
    """The same with the served model and its first voice in place of their marks."""
    card = service.engine.card
    model = service.settings.engine.served_model_name or card.name
    voice = card.voices[0] if card.voices else "alloy"

    def fill(inner: Any) -> Any:
        if isinstance(inner, dict):
            return {key: fill(value) for key, value in inner.items()}
        if isinstance(inner, list):
            return [fill(value) for value in inner]
        return inner.replace("$MODEL", model).replace("$VOICE", voice) if isinstance(inner, str) else inner

    return fill(node)
