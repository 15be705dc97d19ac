"""Which server is asked, and with which key.

In: the URL that was given. Out: the address that requests go to. Pure: nothing is connected to here.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_KEYS = (("openai.com", "OPENAI_API_KEY"), ("aliyuncs.com", "DASHSCOPE_API_KEY"))
_USER = re.compile(r"^(https?://)[^/@]*@")


def base_url(url: str) -> str | None:
    """`http://host:1`, with /v1 or with a whole path of the API → the URL that /models stands under."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    path = path if re.search(r"/v\d+$", path) else f"{path}/v1"
    return f"{parts.scheme}://{parts.netloc}{path}"


def key_variable(url: str) -> str:
    """The environment variable that may hold this server's key: nobody is sent another one's."""
    host = urlsplit(url).hostname or ""
    for domain, name in _KEYS:
        if host == domain or host.endswith(f".{domain}"):
            return name
    return "ANTIPHON_API_KEY"


def without_secrets(word: str) -> str:
    """A URL without its user and password; any other word as it is."""
    return _USER.sub(r"\1***@", word)


def address_of(url: str) -> tuple[str, int]:
    """Host and port."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
