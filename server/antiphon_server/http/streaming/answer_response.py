"""The HTTP response of one answer, whole or streamed. A client that disconnects ends the request.

Errors before the first byte are raised and become an HTTP status. A stream ends exactly once: with `[DONE]`
or with an error.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from antiphon_executor.interface.errors import EngineDead
from antiphon_server.chat.service import Service
from antiphon_server.errors import ApiError
from antiphon_server.http.direct_body import DIRECT_BODY
from antiphon_server.http.error_response import body_of, error_of
from antiphon_server.http.middleware import SEND_BODY
from antiphon_server.http.send_limit import ClientStalled
from antiphon_server.http.streaming.client_watch import respond_while_connected
from antiphon_server.http.streaming.late_answers import put_off
from antiphon_server.http.streaming.sse import EVENT_STREAM, SseResponse, frame, headers_of_type

_log = logging.getLogger("antiphon.turn")


class AnswerResponse(Response, ABC):
    """The request runs while its response is sent, and no longer."""

    media_type = "application/json"

    def __init__(
        self,
        stream: bool,
        service: Service,
        rates: Callable[[], Mapping[str, str]] = dict,
        stream_type: str = EVENT_STREAM,
    ) -> None:
        """`rates`: headers with the rest of the key's rate limits, read when the answer begins."""
        super().__init__()
        self._stream_type = stream_type
        self._stream = stream
        self._service = service
        self._rates = rates

    @abstractmethod
    async def send_whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the request and sends its answer as one body."""

    @abstractmethod
    async def send_events(self, sse: SseResponse) -> None:
        """Runs the request and sends its answer as events."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not put_off(scope, self._respond):
            await self._respond(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        responding = self._send_stream(scope, send) if self._stream else self._send(scope, receive, send)
        await respond_while_connected(scope, receive, responding, self._service.metrics)

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.send_whole(scope, receive, send)
        except EngineDead:
            self._service.metrics.request_aborted("engine_dead")
            raise

    async def _send_stream(self, scope: Scope, send: Send) -> None:
        state = scope.get("state", {})
        body, direct = state.get(SEND_BODY, send), state.get(DIRECT_BODY)
        sse = SseResponse(send, body, self._rates, direct, headers_of_type(self._stream_type))
        try:
            await self.send_events(sse)
        except ClientStalled:
            raise
        except Exception as error:
            if isinstance(error, EngineDead):
                self._service.metrics.request_aborted("engine_dead")
            if not sse.started:
                raise
            await self.end_with_error(error, sse)

    async def end_with_error(self, error: Exception, sse: SseResponse) -> None:
        """The end of a stream that fails: its last event is the error, and no `[DONE]` follows."""
        shown = error_of(error)
        if shown.status >= 500:
            _log.error("stream failed", exc_info=error)
        await sse.end_response(self.error_event(shown))

    def error_event(self, error: ApiError) -> bytes:
        """The event that says what went wrong."""
        return frame(body_of(error))

    async def send_json(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {"cache-control": "no-store", **self._rates()}
        await Response(body, headers=headers, media_type=self.media_type)(scope, receive, send)
