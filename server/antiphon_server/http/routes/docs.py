"""The API documentation: `/openapi.json`, and Swagger UI, which tries calls, without any other host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse

from antiphon_server.http.openapi.document import build_document

router = APIRouter(include_in_schema=False)

# A browser sends no key with a page. What is served without one is in the package; the document is not.
OPEN_PATHS = ("/docs", "/docs/docs.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css")

# Swagger UI's pictures are data URLs in its style sheet.
_PAGE_HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
# The line that links to the page at `/`.
_TO_PAGE = re.compile('.*href="\\.".*\n')
_OURS, _SWAGGER = "antiphon_server.http", "fastapi_offline"


@router.get("/docs")
async def page(request: Request) -> Response:
    has_page = request.app.state.service.settings.server.page
    html = _path(_OURS, "docs.html").read_text()
    return HTMLResponse(html if has_page else _TO_PAGE.sub("", html), headers=dict(_PAGE_HEADERS))


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
    return FileResponse(_path(package, name), media_type=media_type, headers=dict(_PAGE_HEADERS))


def _path(package: str, name: str) -> Path:
    return Path(str(files(package))) / "static" / name
