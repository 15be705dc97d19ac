"""The API keys that a request carries."""

from __future__ import annotations

from starlette.types import Scope

_KEY_PROTOCOL = "openai-insecure-api-key."


def given_keys(scope: Scope) -> list[str]:
    """The API keys of a request: of its header or, as browsers send it, of a WebSocket's subprotocol.

    A scheme other than Bearer has the key "".
    """
    keys = []
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            keys.append(key.strip().decode("latin-1") if scheme.lower() == b"bearer" else "")
    if keys or scope["type"] != "websocket":
        return keys
    offered = scope.get("subprotocols", ())
    return [one.removeprefix(_KEY_PROTOCOL) for one in offered if one.startswith(_KEY_PROTOCOL)]
