"""Counter of the bytes of an HTTP message that are not its body: head, chunk sizes and extensions, trailers.

The parser stores an unfinished line without reporting it, so the arriving pieces themselves are counted.
"""

from __future__ import annotations

from antiphon_server.errors import BadRequest, HeadersTooLarge


class Framing:
    """One connection's. Limits: `limit_bytes` for a head, and for framing that plus one per body byte."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._piece_bytes = 0
        self._bytes = 0
        self._body_bytes = 0
        self._trailer_bytes = 0
        self.in_body = False

    def count_piece(self, size_bytes: int) -> None:
        """A piece has arrived, and is parsed next."""
        self._piece_bytes = size_bytes

    def count_body(self, size_bytes: int) -> None:
        """`size_bytes` of the piece are body."""
        self._body_bytes += size_bytes
        self._piece_bytes = max(0, self._piece_bytes - size_bytes)

    def count_trailer(self, size_bytes: int) -> None:
        """A trailer field. Raises `HeadersTooLarge`."""
        self._trailer_bytes += size_bytes
        if self._trailer_bytes > self._limit_bytes:
            raise HeadersTooLarge("the trailers after the body are too large", code="trailers_too_large")

    def start_body(self) -> None:
        self._restart()
        self.in_body = True

    def end_message(self) -> None:
        self._restart()
        self.in_body = False

    def check_limit(self) -> None:
        """The piece has been parsed. Raises `ApiError` if the open part of the message is too large."""
        self._bytes += self._piece_bytes
        # In a head there are no body bytes.
        if self._bytes <= self._limit_bytes + self._body_bytes:
            return
        if not self.in_body:
            raise HeadersTooLarge("the request's head is too large")
        raise BadRequest(
            "the body's chunks are too small, or their extensions or trailers too long",
            code="chunk_framing_too_large",
            hint="send larger chunks without extensions, or a Content-Length",
        )

    def _restart(self) -> None:
        # It is unknown where in the piece the next part begins, so this piece counts for neither.
        self._piece_bytes = self._bytes = self._body_bytes = self._trailer_bytes = 0
