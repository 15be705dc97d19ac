"""Server-sent events, or other streamed bodies, over ASGI, without any buffer.

`send_limit` gives up clients that stop reading.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from starlette.types import Send

from antiphon_server.http.direct_body import DirectBody

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
EVENT_STREAM = "text/event-stream"
Headers = Sequence[tuple[bytes, bytes]]


def headers_of_type(media_type: str) -> Headers:
    """Headers of a streamed response, which no cache keeps and no proxy holds back."""
    charset = "; charset=utf-8" if media_type.startswith("text/") else ""
    return (
        (b"content-type", f"{media_type}{charset}".encode()),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    )


HEADERS = headers_of_type(EVENT_STREAM)


def frame(json: bytes) -> bytes:
    """One event. `json` contains no line breaks, because JSON escapes them."""
    return b"data: " + json + b"\n\n"


class SseResponse:
    """One response: `start_response`, then `send_data` any number of times, then `end_response`."""

    def __init__(
        self,
        send_head: Send,
        send_body: Send,
        extra_headers: Callable[[], Mapping[str, str]] = dict,
        direct: DirectBody | None = None,
        headers: Headers = HEADERS,
    ) -> None:
        """`extra_headers`: called when the response starts; names in lower case. `headers`: before them.

        `direct`: None if each piece has to be awaited.
        """
        self._send_head = send_head
        self._send_body = send_body
        self._extra_headers = extra_headers
        self._direct = direct
        self._headers = headers
        self.started = False

    async def start_response(self) -> None:
        self.started = True
        extra = [(name.encode(), value.encode()) for name, value in self._extra_headers().items()]
        await self._send_head(
            {"type": "http.response.start", "status": 200, "headers": [*self._headers, *extra]}
        )

    @property
    def takes_more(self) -> bool:
        """Whether `write_now` can write at present."""
        return self._direct is not None and self._direct.takes_more

    def write_now(self, data: bytes) -> None:
        """`send_data` without a wait, only while `takes_more`."""
        if data and self._direct is not None:
            self._direct.write(data)

    async def send_data(self, data: bytes) -> None:
        if data:
            await self._send_body({"type": "http.response.body", "body": data, "more_body": True})

    async def end_response(self, data: bytes = DONE) -> None:
        """Sends the last bytes and completes the response."""
        await self._send_body({"type": "http.response.body", "body": data, "more_body": False})
