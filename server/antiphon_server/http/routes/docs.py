"""The API documentation: `/openapi.json`, and Swagger UI, which tries calls, without any other host."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import FileResponse

from antiphon_server.http.openapi.document import build_document

router = APIRouter(include_in_schema=False)

# Swagger UI's pictures are data URLs in its style sheet.
_PAGE_HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
_OURS, _SWAGGER = "antiphon_server.http", "fastapi_offline"


@router.get("/docs")
async def page() -> Response:
    return _static(_OURS, "docs.html", "text/html")


@router.get("/docs/docs.js")
async def script() -> Response:
    return _static(_OURS, "docs.js", "text/javascript")


@router.get("/docs/swagger-ui-bundle.js")
async def swagger_script() -> Response:
    return _static(_SWAGGER, "swagger-ui-bundle.js", "text/javascript")


@router.get("/docs/swagger-ui.css")
async def swagger_style() -> Response:
    return _static(_SWAGGER, "swagger-ui.css", "text/css")


def describe(app: FastAPI) -> None:
    """Makes `/openapi.json` our document. It is built when it is first asked for."""

    def schema() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = build_document(app)
        return app.openapi_schema

    app.openapi = schema  # type: ignore[method-assign]


def _static(package: str, name: str, media_type: str) -> Response:
    path = Path(str(files(package))) / "static" / name
    return FileResponse(path, media_type=media_type, headers=dict(_PAGE_HEADERS))
