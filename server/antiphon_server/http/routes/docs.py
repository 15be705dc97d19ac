"""The API documentation: `/openapi.json`, and a static page that renders it without any other host."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

router = APIRouter(include_in_schema=False)

_PAGE_HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
_TYPES = {"docs.html": "text/html", "docs.js": "text/javascript", "docs.css": "text/css"}


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str
    hint: str | None = None


class ErrorBody(BaseModel):
    """OpenAI's error envelope."""

    error: ErrorDetail


@router.get("/docs")
async def page() -> Response:
    return _static("docs.html")


@router.get("/docs/docs.js")
async def script() -> Response:
    return _static("docs.js")


@router.get("/docs/docs.css")
async def style() -> Response:
    return _static("docs.css")


def describe_errors(app: FastAPI) -> None:
    """Documents our error envelope for every error in the schema, in place of FastAPI's 422."""

    def schema() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_envelope(
                get_openapi(title=app.title, version=app.version, routes=app.routes, description=_ABOUT)
            )
        return app.openapi_schema

    app.openapi = schema  # type: ignore[method-assign]


_ABOUT = "OpenAI-compatible API of an omni model: text, audio, images and video in; text and speech out."


def _with_envelope(schema: dict[str, Any]) -> dict[str, Any]:
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schemas["ErrorDetail"] = ErrorDetail.model_json_schema()
    schemas["ErrorBody"] = ErrorBody.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas["ErrorBody"].pop("$defs", None)
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}
    refusals = {"4XX": "The request is refused", "5XX": "The server cannot serve the request now"}
    for operations in schema["paths"].values():
        for operation in operations.values():
            responses = operation["responses"]
            responses.pop("422", None)
            for status, text in refusals.items():
                responses.setdefault(status, {"description": text, "content": content})
    return schema


def _static(name: str) -> Response:
    content = files("antiphon_server.http").joinpath("static", name).read_bytes()
    return Response(content, media_type=_TYPES[name], headers=dict(_PAGE_HEADERS))
