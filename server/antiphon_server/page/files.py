"""The static files of the page, each read once, with the headers that they are served with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
INDEX = "index.html"
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".wav": "audio/wav",
}
# Scripts, styles and connections of this server alone. Pictures and sounds that the user adds are blob URLs.
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "media-src 'self' data: blob:; connect-src 'self'; worker-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "permissions-policy": "camera=(self), microphone=(self), geolocation=(), display-capture=()",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    body: bytes
    headers: Mapping[str, str]

    @property
    def etag(self) -> str:
        return self.headers["etag"]


@cache
def page_files() -> Mapping[str, PageFile]:
    """By path below the folder, such as `audio/player.js`."""
    found = sorted(path for path in FOLDER.rglob("*") if path.suffix in _MEDIA_TYPES)
    return {path.relative_to(FOLDER).as_posix(): _read(path) for path in found}


@cache
def index_with_key() -> PageFile:
    """The page of a server with API keys."""
    body = page_files()[INDEX].body
    return _file(body.replace(b'data-key="none"', b'data-key="needed"', 1), Path(INDEX))


def _read(path: Path) -> PageFile:
    return _file(path.read_bytes(), path)


def _file(body: bytes, path: Path) -> PageFile:
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return PageFile(body, {**_HEADERS, "content-type": _MEDIA_TYPES[path.suffix], "etag": etag})
