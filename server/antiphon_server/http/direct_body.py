"""Writer of a response's body that needs no task, for as long as the connection takes what is written."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

# The key of a request's state that holds its `DirectBody`. Only connections of ours have one.
DIRECT_BODY = "direct_body"


class DirectBody:
    """Writes what `cycle.send` writes for a piece that is not the last one."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self.sent_bytes = 0

    @property
    def takes_more(self) -> bool:
        """Whether a piece can be written now. If not, `send` has to be awaited."""
        cycle = self._cycle
        if not cycle.response_started or cycle.response_complete or not cycle.chunked_encoding:
            return False
        return not (cycle.flow.write_paused or cycle.disconnected or cycle.scope["method"] == "HEAD")

    def write(self, data: bytes) -> None:
        """Only while `takes_more`. `data` is not empty: an empty chunk would end the body."""
        self.sent_bytes += len(data)
        self._cycle.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
