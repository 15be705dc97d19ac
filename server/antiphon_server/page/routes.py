"""The routes of the page: `/`, and its other files below `/page/`. They need no key: the page asks for it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from antiphon_server.page.files import INDEX, PageFile, index_with_key, page_files

PREFIX = "/page/"

router = APIRouter(include_in_schema=False)


def paths() -> tuple[str, ...]:
    """Every path of the page."""
    return ("/", *(f"{PREFIX}{name}" for name in page_files() if name != INDEX))


@router.get("/")
async def index(request: Request) -> Response:
    """Without a key the page's first request would fail: its document says that it has to ask for one."""
    keys = request.app.state.service.settings.server.api_keys
    return _answer(request, index_with_key() if keys else page_files()[INDEX])


@router.get(PREFIX + "{name:path}")
async def part(request: Request, name: str) -> Response:
    file = page_files().get(name)
    if file is None or name == INDEX:
        raise HTTPException(404)
    return _answer(request, file)


def _answer(request: Request, file: PageFile) -> Response:
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=dict(file.headers))
    return Response(file.body, headers=dict(file.headers))
