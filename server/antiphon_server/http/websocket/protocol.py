"""WebSocket connections of uvicorn: counted among our connections, and closed with 1001 at shutdown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

_GOING_AWAY = 1001


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """One connection. `on_lost`: called once when it has ended."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        on_lost: Callable[[], None],
    ) -> None:
        super().__init__(config, server_state, app_state)
        # At the level "debug" it would log headers, and keys with them.
        self.conn.debug = False
        self._on_lost = on_lost

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_lost()
        super().connection_lost(exc)

    async def send(self, message: ASGISendEvent) -> None:
        try:
            await super().send(message)
        except RuntimeError:
            if not self.close_sent:
                raise
            # The server has closed it (a late pong, a large event, shutdown) before the application knew.
            raise ClientDisconnected from None
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            # A refusal is an answer. uvicorn would log it as an error of the application.
            self.handshake_complete = True

    def shutdown(self) -> None:
        if self.handshake_complete and not self.close_sent and not self.transport.is_closing():
            self.stop_keepalive()
            self.close_sent = True
            self.queue.put_nowait({"type": "websocket.disconnect", "code": _GOING_AWAY})
            self.conn.send_close(_GOING_AWAY, "the server is shutting down")
            self.transport.write(b"".join(self.conn.data_to_send()))
        super().shutdown()
