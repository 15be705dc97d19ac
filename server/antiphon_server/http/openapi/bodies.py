"""How a route declares the bodies that it reads and streams, by the names of their schemas."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from antiphon_server.http.body_type import JSON, MULTIPART

SCHEMAS = "#/components/schemas/"
# The end of a stream in OpenAI's format; its data is no JSON.
_DONE = "[DONE]"


def json_body(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """The `openapi_extra` of a route that parses a JSON body itself."""
    return {"requestBody": {"required": required, "content": {JSON: {"schema": reference(model)}}}}


def form_body(model: type[BaseModel]) -> dict[str, Any]:
    """The same for a form."""
    return {"requestBody": {"required": True, "content": {MULTIPART: {"schema": reference(model)}}}}


def event_stream(title: str, *models: type[BaseModel], named: bool = False) -> dict[str, Any]:
    """The content of a response that sends events, by the schema of one event, `title`.

    `models`: of their data. `named`: each has its type as its name too, and none is `[DONE]`.
    """
    data: dict[str, Any] = {
        "type": "string",
        "contentMediaType": JSON,
        "contentSchema": {"oneOf": [reference(model) for model in models]},
    }
    fields = {"data": data if named else {"anyOf": [{"const": _DONE}, data]}}
    if named:
        fields["event"] = {"type": "string"}
    schema = {
        "title": title,
        "description": "One server-sent event. Comments, which keep a silent connection open, are none.",
        "type": "object",
        "properties": fields,
        "required": [*fields],
    }
    return {"text/event-stream": {"schema": schema}}


def reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"{SCHEMAS}{model.__name__}"}
