"""The server under test: its API base URL, its address, and the environment variable of its key."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_KEYS = (("openai.com", "OPENAI_API_KEY"), ("aliyuncs.com", "DASHSCOPE_API_KEY"))
_USER = re.compile(r"^(https?://)[^/@]*@")


def base_url(url: str) -> str | None:
    """The URL above /models, from a URL with or without /v1 or /v1/chat/completions; None if invalid."""
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        # Of an address in brackets, or of a port.
        return None
    if not is_valid:
        return None
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    path = path if re.search(r"/v\d+$", path) else f"{path}/v1"
    return f"{parts.scheme}://{parts.netloc}{path}"


def key_variable(url: str) -> str:
    """The environment variable of this server's key. A known host never gets the key of another service."""
    host = urlsplit(url).hostname or ""
    for domain, name in _KEYS:
        if host == domain or host.endswith(f".{domain}"):
            return name
    return "ANTIPHON_API_KEY"


def without_secrets(word: str) -> str:
    """A URL with its user and password masked; any other word unchanged."""
    return _USER.sub(r"\1***@", word)


def address_of(url: str) -> tuple[str, int]:
    """The host and port of a URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
