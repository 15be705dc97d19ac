"""How a route declares the bodies that it reads and streams, by the names of their schemas."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from antiphon_server.http.body_type import JSON, MULTIPART

SCHEMAS = "#/components/schemas/"
# In the schema of a stream: the schemas of its events' data.
EVENTS = "x-events"


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """The `openapi_extra` of a route that parses a JSON body itself."""
    return {"requestBody": {"required": True, "content": {JSON: {"schema": reference(model)}}}}


def form_body(model: type[BaseModel]) -> dict[str, Any]:
    """The same for a form."""
    return {"requestBody": {"required": True, "content": {MULTIPART: {"schema": reference(model)}}}}


def event_stream(*models: type[BaseModel]) -> dict[str, Any]:
    """The content of a response that sends events. `models`: of their data."""
    events = {"oneOf": [reference(model) for model in models]}
    return {"text/event-stream": {"schema": {"type": "string", EVENTS: events}}}


def reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"{SCHEMAS}{model.__name__}"}
